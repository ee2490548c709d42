//! The small texts of taskq's options: durations, backoffs, names
