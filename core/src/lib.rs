//! Workflow graphs and their phase machine as flat arrays.
