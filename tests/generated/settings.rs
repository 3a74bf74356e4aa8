//! Written from the table of settings, and from the matrix, whose rows have a setting each: the README's
//! table; values, schema and environment of the Helm chart; the dictionary for fuzzing.

use std::iter;

use agentkube::{
    admission::{SETTINGS, Setting, SettingValue},
    images::rows,
};

use crate::files::{hold_block, hold_file, table};

/// The settings of single images, where all of them are one entry.
const OVERRIDES: &str = "AGENTKUBE_IMAGE_<ROW>";

/// The components that can be overridden, and the variables that do it.
fn overrides() -> impl Iterator<Item = (&'static str, &'static str)> {
    rows().filter_map(|row| Some((row.name, row.variable?)))
}

/// Words in backticks.
fn code<'w>(words: impl IntoIterator<Item = &'w &'w str>) -> String {
    words
        .into_iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
fn the_readme_shows_the_settings() {
    let one_image = [
        format!("`{OVERRIDES}`"),
        "`quay.io/team/codex:v1`".to_owned(),
        String::new(),
        "`overrides.<component>`".to_owned(),
        "the image of one row of [the matrix](#the-matrix), cluster-wide and verbatim".to_owned(),
    ];
    let settings = SETTINGS.iter().map(|setting| {
        let Setting {
            name,
            value,
            default,
            example,
            helm,
            docs,
            ..
        } = setting;
        let value = match value {
            SettingValue::List => format!("a comma list: `{example}`"),
            SettingValue::Text => format!("`{example}`"),
            SettingValue::Switch | SettingValue::Word(_) => code(value.words()),
        };
        let default = code(
            [default]
                .into_iter()
                .filter(|it| !it.is_empty()),
        );
        [
            code([name]),
            value,
            default,
            code([helm]),
            (*docs).to_owned(),
        ]
    });
    let head = ["variable", "value", "default", "in Helm", "what it does"];
    let rows = iter::once(one_image).chain(settings);
    hold_block("README.md", "settings", &table(head, rows));
}

#[test]
fn the_charts_values_are_the_settings() {
    let mut values = format!(
        "# {OVERRIDES}: one image, cluster-wide and verbatim, by the component's name in the matrix.\n\
         overrides: {{}}\n#  Codex: quay.io/team/codex:v1\n"
    );
    for setting in SETTINGS {
        let Setting {
            name,
            value,
            default,
            helm,
            help,
            ..
        } = setting;
        let (words, default) = match value {
            SettingValue::List => (String::new(), "[]"),
            SettingValue::Switch => (String::new(), *default),
            SettingValue::Text => (String::new(), "\"\""),
            SettingValue::Word(words) => (format!(": {}", code(*words)), *default),
        };
        values.extend([format!("# {name}: {help}{words}.\n{helm}: {default}\n")]);
    }
    hold_block("manifests/chart/values.yaml", "settings", &values);
}

#[test]
fn the_charts_schema_knows_the_settings() {
    let rows: Vec<_> = overrides()
        .map(|(component, _)| {
            format!("        {component:?}: {{ \"$ref\": \"#/$defs/reference\" }}")
        })
        .collect();
    let mut schema = format!(
        r#"    "overrides": {{
      "description": "one image, cluster-wide and verbatim, by component",
      "type": "object",
      "additionalProperties": false,
      "properties": {{
{}
      }}
    }},
"#,
        rows.join(",\n")
    );
    for Setting {
        value, helm, help, ..
    } in SETTINGS
    {
        let form = match value {
            SettingValue::List => r##""$ref": "#/$defs/words""##.to_owned(),
            SettingValue::Switch => r#""type": "boolean""#.to_owned(),
            SettingValue::Text => r#""type": "string", "pattern": "^\\S*$""#.to_owned(),
            SettingValue::Word(words) => format!("\"enum\": {words:?}"),
        };
        schema.extend([format!(
            "    {helm:?}: {{ \"description\": {help:?}, {form} }},\n"
        )]);
    }
    hold_block("manifests/chart/values.schema.json", "settings", &schema);
}

#[test]
fn the_charts_environment_is_that_of_the_settings() {
    let entry = |name: &str, condition: &str, value: &str| {
        format!(
            "{{{{- {condition} -}}}}\n\
             {{{{- $env = append $env (dict \"name\" \"{name}\" \"value\" {value}) -}}}}\n\
             {{{{- end -}}}}\n"
        )
    };
    let mut template = "\
{{- /* Written by `.ci/generate` from the tables of settings and of images. */ -}}

{{- /* The variables of the manager's settings, those of them that are not as the manager has them by itself. */ -}}
{{- define \"agentkube.env\" -}}
{{- $env := list -}}
"
    .to_owned();
    for (component, variable) in overrides() {
        template += &entry(variable, &format!("with .overrides.{component}"), ".");
    }
    for Setting {
        name,
        value,
        default,
        helm,
        ..
    } in SETTINGS
    {
        template += &match (value, *default) {
            (SettingValue::List, _) => entry(name, &format!("with .{helm}"), "(join \",\" .)"),
            (SettingValue::Switch, "true") => entry(name, &format!("if not .{helm}"), "\"false\""),
            (SettingValue::Switch, _) => entry(name, &format!("if .{helm}"), "\"true\""),
            (SettingValue::Text, _) => entry(name, &format!("with .{helm}"), "."),
            (SettingValue::Word(_), default) => {
                let condition = format!("if ne .{helm} {default:?}");
                entry(name, &condition, &format!(".{helm}"))
            }
        };
    }
    template += "{{- toYaml (dict \"env\" $env) -}}\n{{- end -}}\n";
    hold_file("manifests/chart/templates/_settings.tpl", &template);
}

#[test]
fn the_dictionary_for_fuzzing_knows_the_settings() {
    let mut words: Vec<String> = SETTINGS
        .iter()
        .map(|setting| setting.name)
        .chain(overrides().map(|(_, variable)| variable))
        .map(|name| format!("{name}="))
        .collect();
    for setting in SETTINGS {
        let known = setting.value.words();
        words.extend(
            known
                .iter()
                .map(|word| (*word).to_owned()),
        );
        if known.is_empty() {
            words.push(setting.example.to_owned());
        }
    }
    let lines: Vec<_> = words
        .iter()
        .map(|word| format!("{word:?}"))
        .collect();
    hold_block(
        "fuzz/dictionaries/settings.dict",
        "settings",
        &lines.join("\n"),
    );
}
