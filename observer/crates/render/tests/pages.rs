//! Reports as Markdown, HTML and Perfetto traces, checked by parsers of others: html5ever,
//! pulldown-cmark, and a checker written from the Trace Event Format.

#[path = "pages/hostile.rs"]
mod hostile;
#[path = "pages/html.rs"]
mod html;
#[path = "pages/made.rs"]
mod made;
#[path = "pages/markdown.rs"]
mod markdown;
#[path = "pages/trace.rs"]
mod trace;
