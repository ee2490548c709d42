//! Code as users of an older edition write it: see `tests/user_code`.
