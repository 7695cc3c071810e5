//! What the fuzz targets call: the checks of what comes from outside. Those of `landbridge-core` are here; the other crates
//! keep theirs beside the code that they are about, in modules that are there for tests and fuzzers alone.

mod checks;

pub use checks::{comparison, exchange, id_set, key_file, ledger, marker, message, name, receipts, value};
pub use landbridge::hostile::{cache_file, configuration, rights_of_sql};
pub use landbridge_http::hostile::{body, header};
pub use landbridge_stores::hostile::{administrators_sql, transfer_encoding};
