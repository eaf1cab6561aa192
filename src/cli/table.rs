//! Tables of findings.

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use crate::quote::terminal;
use crate::report::Console;
use crate::report::note::Verdict;

/// One line.
pub struct Row {
    /// Left cells.
    pub cells: Vec<String>,
    /// How it is.
    pub verdict: Verdict,
    /// The last cell.
    pub detail: String,
}

/// Rows under a header; the verdict's word comes before the last column. As wide as the terminal, or as needed in a pipe.
pub fn render(header: &[&str], rows: &[Row], console: &Console) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if console.paint().on {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    if console.shows_on_terminal() {
        let (_, width) = console::Term::stdout().size();
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
    } else {
        table.set_content_arrangement(ContentArrangement::Disabled);
    }
    table.set_header(
        header
            .iter()
            .map(|title| Cell::new(title).add_attribute(Attribute::Bold)),
    );
    for row in rows {
        let mut cells: Vec<Cell> = row.cells.iter().map(|cell| Cell::new(terminal(cell))).collect();
        cells.push(word(row.verdict));
        cells.push(Cell::new(terminal(&row.detail)));
        table.add_row(cells);
    }
    let text = table.to_string();
    // Each cell has a blank before it; the first one needs none.
    let line = |line: &str| format!("{}\n", line.strip_prefix(' ').unwrap_or(line).trim_end());
    text.lines().map(line).collect()
}

fn word(verdict: Verdict) -> Cell {
    match verdict {
        Verdict::Good => Cell::new("ok").fg(Color::Green),
        Verdict::Warning => Cell::new("look").fg(Color::Yellow),
        Verdict::Bad => Cell::new("BAD").fg(Color::Red),
    }
}
