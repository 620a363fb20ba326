//! Rows as a table for people.

use tidegate_core::{Result, Zone};
use tidegate_engine::dialect::types::sql_name;

use crate::output;

/// Rows that a table shows at most.
const MAX_ROWS: usize = 10_000;
/// Characters of a cell that are shown at most.
const MAX_CELL: usize = 120;

/// Prints a head line with names, and a line for each row. NULL is written as `NULL`.
pub fn print(rows: &tidegate_engine::Rows, zone: Zone) -> Result<()> {
    let schema = rows.schema();
    let names: Vec<String> = schema.fields().iter().map(|field| shown(field.name())).collect();
    let is_number = |name: String| {
        ["int", "double", "float", "decimal"].iter().any(|number| name.contains(number)) && !name.contains(['<', ' '])
    };
    let right: Vec<bool> = schema.fields().iter().map(|field| is_number(sql_name(field.data_type()))).collect();
    let cells: Vec<Vec<String>> = tidegate_engine::texts(&rows.slice(0, rows.num_rows().min(MAX_ROWS)), zone)?
        .into_iter()
        .map(|row| row.into_iter().map(|cell| cell.map_or_else(|| "NULL".to_owned(), |cell| shown(&cell))).collect())
        .collect();
    let mut widths: Vec<usize> = names.iter().map(|name| name.chars().count()).collect();
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    output::line(&line(&names, &widths, &vec![false; names.len()]))?;
    output::line(&widths.iter().map(|width| "-".repeat(*width)).collect::<Vec<_>>().join("-+-"))?;
    for row in &cells {
        output::line(&line(row, &widths, &right))?;
    }
    if rows.num_rows() > MAX_ROWS {
        output::note(&format!("{} more rows: use LIMIT, or --json", rows.num_rows() - MAX_ROWS));
    }
    Ok(())
}

fn line(cells: &[String], widths: &[usize], right: &[bool]) -> String {
    let padded = cells.iter().zip(widths).zip(right).map(|((cell, width), right)| {
        let blanks = " ".repeat(width.saturating_sub(cell.chars().count()));
        if *right { blanks + cell } else { cell.clone() + &blanks }
    });
    padded.collect::<Vec<_>>().join(" | ").trim_end().to_owned()
}

/// A text in one line: control characters are escaped, long texts are cut.
fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (i, c) in text.chars().enumerate() {
        if i == MAX_CELL {
            out.push_str("...");
            break;
        }
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_stand_in_one_line() {
        assert_eq!(shown("a\nb\tc"), "a\\nb\\tc");
        assert_eq!(shown(&"é".repeat(130)).chars().count(), MAX_CELL + 3);
    }

    #[test]
    fn numbers_stand_on_the_right() {
        let cells = ["a".to_owned(), "1".to_owned(), "b".to_owned()];
        assert_eq!(line(&cells, &[2, 3, 4], &[false, true, false]), "a  |   1 | b");
    }
}
