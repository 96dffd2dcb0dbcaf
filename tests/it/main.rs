//! The one integration binary: whole parts over a real lake in a temporary folder.

mod shipped_sql;
