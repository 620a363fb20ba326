//! "Did you mean": the closest of the names that are known at a place.

/// The name of `known` that `word` is a slip of, if one is close enough.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = normal(word);
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(&word, &normal(name)), name))
        .filter(|(distance, name)| *distance <= allowed && *distance < name.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// `did you mean 'x'? ` and everything that is known here.
pub(crate) fn help(word: &str, known: &[&str]) -> String {
    let all = known.join(", ");
    match closest(word, known.iter().copied()) {
        Some(name) => format!("did you mean '{name}'? Known here: {all}"),
        None if known.is_empty() => "nothing is known here".to_owned(),
        None => format!("known here: {all}"),
    }
}

fn normal(word: &str) -> Vec<char> {
    word.chars().take(80).map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from `a` to `b`.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}
