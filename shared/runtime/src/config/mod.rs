//! The pipeline file: YAML text to a validated [`PipelineFile`], or every mistake at once.
//!
//! YAML to a tree with places (`yaml`), tree to raw types (`raw`, `read`), raw to validated (`validate`, `target`).
//! Each step goes on after a mistake. The JSON Schema comes from the same declarations as the readers (`declare`).

mod align;
mod declare;
mod environment;
pub mod errors;
mod level;
pub mod place;
mod raw;
mod read;
mod secrets;
pub(crate) mod suggest;
mod target;
mod validate;
pub mod validated;
mod yaml;

use std::sync::Arc;

use tidegate_core::Zone;

pub use errors::{ConfigErrors, Mistake};
pub use place::Place;
pub use validated::*;

use errors::Hidden;
use read::{Read, Reader};

/// Reads and validates a pipeline file. Reports every mistake at once.
///
/// `file_name` is what messages call the file; `env` answers `${NAME}`.
pub fn load(file_name: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<PipelineFile, ConfigErrors> {
    let text: Arc<str> = text.strip_prefix('\u{feff}').unwrap_or(text).into();
    let mut reader = Reader::default();
    let fail = |mistakes: Vec<Mistake>, hidden: Hidden| {
        Err(ConfigErrors::new(file_name, Arc::clone(&text), mistakes).hiding(hidden))
    };
    let by_words = Hidden { by_words: true, ..Hidden::default() };
    let before = &mut reader.mistakes;
    let Some(tree) = yaml::parse(&text, env, before) else {
        if before.is_empty() {
            before.push(Mistake::of_file("the file is empty").with_help(EXAMPLE));
        }
        return fail(reader.mistakes, by_words);
    };
    let hidden = secrets::hidden(&tree);
    if tree.is_null() {
        return fail(vec![Mistake::of_file("the file is empty").with_help(EXAMPLE)], hidden);
    }
    let Some(raw) = raw::Pipeline::read(&tree, &mut reader) else { return fail(reader.mistakes, hidden) };
    let parts = validate::validate(raw);
    let mut mistakes = reader.mistakes;
    mistakes.extend(parts.mistakes);
    if !mistakes.is_empty() {
        return fail(mistakes, hidden);
    }
    Ok(PipelineFile {
        name: parts.name,
        sources: parts.sources,
        views: parts.views,
        session_time_zone: parts.session_time_zone.unwrap_or(Zone::UTC),
        outputs: parts.outputs,
        targets: parts.targets,
        dead_letters: parts.dead_letters,
        report_item_failures: parts.report_item_failures,
        state: parts.state,
        warnings: parts.warnings,
        file_name: file_name.to_owned(),
        text,
        places: reader.places,
    })
}

const EXAMPLE: &str = "a pipeline begins with 'name:', 'sources:', 'outputs:' and 'targets:'; see docs/pipeline.md";

/// The JSON Schema of the pipeline file, as text that ends with a line break.
pub fn json_schema() -> String {
    let mut schema = schemars::SchemaGenerator::default().into_root_schema_for::<raw::Pipeline>();
    schema.insert("title".to_owned(), "Tidegate pipeline file".into());
    let mut text = serde_json::to_string_pretty(&schema).expect("a schema is plain JSON");
    text.push('\n');
    text
}
