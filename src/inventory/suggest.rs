//! "Did you mean": one wording for keys, names and words.

/// `did you mean `x`?`, or the list of what is possible.
pub fn among<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match closest(word, &known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("possible here: {}", list(&known)),
    }
}

/// The known word that is near enough to be meant.
pub fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // A word pasted from elsewhere may be huge, and the measure is quadratic.
    if word.len() > 64 {
        return None;
    }
    let lower = word.to_lowercase().replace('-', "_");
    let score = |k: &str| {
        let k = k.to_lowercase().replace('-', "_");
        // Jaro-Winkler alone misses swapped letters in short words (`kye`).
        let swapped = k.len() > 2 && strsim::osa_distance(&lower, &k) == 1;
        strsim::jaro_winkler(&lower, &k).max(if swapped { 0.9 } else { 0.0 })
    };
    known
        .iter()
        .map(|k| (score(k), *k))
        .filter(|(score, _)| *score > 0.82)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, k)| k)
}

/// `a, b, c` in quotes.
pub fn list(words: &[&str]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// `a, b or c` in quotes.
pub fn or(words: &[&str]) -> String {
    match words {
        [] => "nothing".to_owned(),
        [only] => format!("`{only}`"),
        [most @ .., last] => format!("{} or `{last}`", list(most)),
    }
}
