"""Writing the audit log, for every service: records, the lane and its spool, refusals."""
