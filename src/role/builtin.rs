//! The compiled-in templates, by name: the path under `templates/` without `.tera`.

macro_rules! templates {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../templates/", $name, ".tera")))),*]
    };
}

/// Name and text of each template.
pub const TEMPLATES: &[(&str, &str)] = templates![];
