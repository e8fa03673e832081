"""Table tests of a policy: suites of questions with the answers that they must have."""
