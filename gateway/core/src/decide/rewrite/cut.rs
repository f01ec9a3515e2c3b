//! What is taken out of a document.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::{
    json::{Edits, Node},
    swml::At,
};

/// Items of lists and members of objects that are taken out.
#[derive(Default)]
pub(super) struct Cut<'d> {
    /// By where the list or the object starts in the text.
    parts: BTreeMap<usize, Part<'d>>,
    /// Whether the whole text is one definition that is taken out.
    root: bool,
    /// What is gone, in order and apart. It holds what was cut before [`Cut::settle`].
    gone: Vec<Range<usize>>,
}

struct Part<'d> {
    around: &'d Node<'d>,
    places: BTreeSet<usize>,
    item: Option<(&'d Node<'d>, usize)>,
}

// === impl Cut ===

impl<'d> Cut<'d> {
    /// Takes out what stands there.
    pub(super) fn add(&mut self, at: At<'d>) {
        let Some(around) = at.around else {
            self.root = true;
            return;
        };
        let part = || Part { around, places: BTreeSet::new(), item: at.item };
        self.parts.entry(around.span.start).or_insert_with(part).places.insert(at.place);
    }

    /// Takes an item out of a list.
    pub(super) fn add_item(&mut self, list: &'d Node<'d>, place: usize) {
        self.add(At { around: Some(list), place, item: None });
    }

    /// Takes out the members of an object whose keys are these.
    pub(super) fn add_members(&mut self, object: &'d Node<'d>, keys: &[&str]) {
        for (place, _) in object.members().iter().enumerate().filter(|(_, member)| keys.contains(&member.key.as_ref()))
        {
            self.add(At { around: Some(object), place, item: None });
        }
    }

    /// Whether the whole text is gone.
    pub(super) fn is_all(&self) -> bool {
        self.root
    }

    /// Whether nothing of a list remains.
    pub(super) fn empties(&self, list: &Node<'_>) -> bool {
        let places = self.parts.get(&list.span.start).map_or(0, |part| part.places.len());
        !list.items().is_empty() && places == list.items().len()
    }

    /// Finds out what is gone by all that was cut until now. An object of a list goes as a whole when nothing of it
    /// remains.
    pub(super) fn settle(&mut self) {
        if self.parts.is_empty() {
            return;
        }
        let is_emptied = |part: &Part<'_>| part.places.len() == part.around.members().len();
        let emptied: Vec<_> =
            self.parts.values().filter(|part| is_emptied(part)).filter_map(|part| part.item).collect();
        emptied.into_iter().for_each(|(list, place)| self.add_item(list, place));
        let mut spans: Vec<Range<usize>> = self.parts.values().flat_map(Part::spans).collect();
        spans.sort_unstable_by_key(|span| (span.start, std::cmp::Reverse(span.end)));
        self.gone.clear();
        for span in spans {
            if self.gone.last().is_none_or(|last| last.end <= span.start) {
                self.gone.push(span);
            }
        }
    }

    /// Whether this is gone, or within what is.
    pub(super) fn covers(&self, node: &Node<'_>) -> bool {
        let next = self.gone.partition_point(|gone| gone.end <= node.span.start);
        self.gone.get(next).is_some_and(|gone| gone.start <= node.span.start && node.span.end <= gone.end)
    }

    /// Takes it all out, with all edits within.
    pub(super) fn apply(mut self, edits: &mut Edits) {
        if self.parts.is_empty() {
            return;
        }
        self.settle();
        edits.forget_within(&self.gone);
        for part in self.parts.values().filter(|part| !self.covers(part.around)) {
            let places: Vec<usize> = part.places.iter().copied().collect();
            edits.remove_places(part.around, &places);
        }
    }
}

impl Part<'_> {
    fn spans(&self) -> impl Iterator<Item = Range<usize>> {
        let spans = self.around.part_spans();
        self.places.iter().filter_map(move |place| spans.get(*place).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    /// The text without what stands at these JSON pointers; the objects there are items.
    fn without(text: &str, pointers: &[(&str, usize)]) -> String {
        let root = json::parse(text.as_bytes()).unwrap();
        let mut cut = Cut::default();
        for (pointer, place) in pointers {
            let around = root.at_pointer(pointer).unwrap();
            let (list, number) = pointer.rsplit_once('/').unwrap_or_default();
            let item = number.parse().ok().map(|number| (root.at_pointer(list).unwrap(), number));
            cut.add(At { around: Some(around), place: *place, item: item.filter(|_| around.is_object()) });
        }
        let mut edits = Edits::default();
        root.items().iter().for_each(|item| edits.replace(item.span.start..item.span.start + 1, "#"));
        cut.apply(&mut edits);
        edits.apply(text).unwrap()
    }

    #[test]
    fn parts_go_with_what_is_within_them() {
        assert_eq!(without("[1,2,3]", &[("", 1)]), "[#,#]");
        assert_eq!(without("[[1],[2]]", &[("/0", 0), ("", 0)]), "[#2]]");
        assert_eq!(without("[[1],[2]]", &[("/0", 0), ("/1", 0)]), "[#],#]]");
    }

    #[test]
    fn an_emptied_object_goes_as_a_whole() {
        let text = r#"[{"a":1,"b":2},{"a":1,"b":2}]"#;
        assert_eq!(without(text, &[("/0", 0), ("/0", 1)]), r##"[#"a":1,"b":2}]"##);
        assert_eq!(without(text, &[("/0", 0), ("/1", 1)]), r##"[#"b":2},#"a":1}]"##);
    }

    #[test]
    fn lists_of_many_are_cut_in_linear_time() {
        let count = 20_000;
        let text = format!("[{}]", vec![r#"[{"a":1},2]"#; count].join(","));
        let pointers: Vec<_> = (0..count).map(|number| format!("/{number}")).collect();
        let root = json::parse(text.as_bytes()).unwrap();
        let mut cut = Cut::default();
        root.items().iter().zip(&pointers).for_each(|(item, _)| cut.add_item(item, 0));
        let mut edits = Edits::default();
        cut.apply(&mut edits);
        assert_eq!(edits.apply(&text).unwrap(), format!("[{}]", vec!["[2]"; count].join(",")));
    }
}
