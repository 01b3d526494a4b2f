//! Rows for eyes and for spreadsheets.

/// How rows are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For terminals.
    Table,
    /// For programs.
    Json,
}

/// Columns under their headings, as kubectl prints them; what has nothing to say is a dash.
pub fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |text: &str| if text.is_empty() { "-".to_owned() } else { text.replace(char::is_control, " ") };
    let lines: Vec<Vec<String>> = std::iter::once(headings.iter().map(|text| (*text).to_owned()).collect())
        .chain(rows.iter().map(|row| row.iter().map(|text| cell(text)).collect()))
        .collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|text| text.chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let line = |line: &Vec<String>| {
        let padded = line.iter().zip(&widths).map(|(text, width)| format!("{text:width$}"));
        format!("{}\n", padded.collect::<Vec<_>>().join("   ").trim_end())
    };
    lines.iter().map(line).collect()
}

/// Comma-separated values (RFC 4180). What a spreadsheet would take for a formula is preceded by an apostrophe.
pub fn csv(headings: &[&str], rows: &[Vec<String>]) -> String {
    let cell = |text: &str| {
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let text = if formula { format!("'{text}") } else { text.to_owned() };
        if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
    };
    let line = |cells: Vec<String>| format!("{}\r\n", cells.join(","));
    let first = line(headings.iter().map(|text| cell(text)).collect());
    rows.iter().fold(first, |text, row| text + &line(row.iter().map(|text| cell(text)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let rows = [vec!["ada".to_owned(), String::new()], vec!["a longer name".to_owned(), "x\ny".to_owned()]];
        assert_eq!(table(&["WHO", "WHAT"], &rows), "WHO             WHAT\nada             -\na longer name   x y\n");
    }

    #[test]
    fn nothing_that_stands_in_a_cell_moves_the_cursor() {
        assert_eq!(table(&["WHO"], &[vec!["a\u{1b}[2Jb\u{85}c".to_owned()]]), "WHO\na [2Jb c\n");
    }

    #[test]
    fn values_keep_their_commas_and_are_no_formulas() {
        let rows = [vec!["a,b".to_owned(), "say \"x\"".to_owned()], vec!["=1+1".to_owned(), "plain".to_owned()]];
        assert_eq!(csv(&["a", "b"], &rows), "a,b\r\n\"a,b\",\"say \"\"x\"\"\"\r\n'=1+1,plain\r\n");
    }
}
