//! The catalogue of ready tasks: the five string tasks
