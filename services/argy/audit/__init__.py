"""The audit log's service: record events, and find them again."""
