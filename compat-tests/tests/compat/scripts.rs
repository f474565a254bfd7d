//! The cases that are written as exchanges, from `golden/`.
//!
//! Each `###` of a file is one case; the areas are the files. What cannot be said as a fixed
//! sequence of requests and answers is in the other modules.

use compat_tests::script::{self, Script};

use super::context::Case;

const FILES: [(&str, &str); 13] = [
    ("set", include_str!("../../golden/set.http")),
    ("create", include_str!("../../golden/create.http")),
    ("update", include_str!("../../golden/update.http")),
    ("compare", include_str!("../../golden/compare.http")),
    ("delete", include_str!("../../golden/delete.http")),
    ("listing", include_str!("../../golden/listing.http")),
    ("novalue", include_str!("../../golden/novalue.http")),
    ("root", include_str!("../../golden/root.http")),
    ("ttl", include_str!("../../golden/ttl.http")),
    ("parameters", include_str!("../../golden/parameters.http")),
    ("forms", include_str!("../../golden/forms.http")),
    ("paths", include_str!("../../golden/paths.http")),
    ("scenario", include_str!("../../golden/scenario.http")),
];

/// Every file's cases; a file that cannot be read is one failing case.
pub(crate) fn areas() -> Vec<(&'static str, Vec<Case>)> {
    FILES.into_iter().map(|(area, text)| (area, cases(text))).collect()
}

/// Users and roles belong to a whole server, so each of these cases has one of its own.
pub(crate) fn auth() -> Vec<Case> {
    read(include_str!("../../golden/auth.http"), |script| {
        let name = script.name.clone();
        Case::alone(&name, move |context| {
            let (_server, own) = context.own_server()?;
            script.run(&own.client, &own.prefix)
        })
    })
}

/// The same, for whoever brings servers of another kind.
pub(crate) fn auth_scripts() -> Result<Vec<Script>, String> {
    script::parse(include_str!("../../golden/auth.http"))
}

fn cases(text: &str) -> Vec<Case> {
    read(text, |script| {
        let name = script.name.clone();
        Case::new(&name, move |context| script.run(&context.client, &context.prefix))
    })
}

fn read(text: &str, case: fn(Script) -> Case) -> Vec<Case> {
    match script::parse(text) {
        Ok(scripts) => scripts.into_iter().map(case).collect(),
        Err(problem) => vec![Case::new("the file is well formed", move |_| Err(problem))],
    }
}
