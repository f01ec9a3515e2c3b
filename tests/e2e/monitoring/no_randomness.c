/* Preloaded into a gateway: as long as the file `no-randomness` is in its folder, the kernel has no random bytes for it. */
#include <errno.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

long syscall(long number, ...);

ssize_t getrandom(void *buffer, size_t length, unsigned int flags) {
  if (access("no-randomness", F_OK) == 0) {
    errno = EPERM;
    return -1;
  }
  return syscall(SYS_getrandom, buffer, length, flags);
}
