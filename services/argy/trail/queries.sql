-- name: insert_event
-- Write one audit event in the caller's transaction.
INSERT INTO audit.event (
  tenant_id, id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome,
  reason, occurred_at, request_id, trace_id, detail
) VALUES (
  $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, to_timestamp($13::bigint / 1000.0), $14, $15,
  $16
);

-- name: insert_events
-- Write many audit events of one tenant at once; those that are there already stay as they are.
INSERT INTO audit.event (
  tenant_id, id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome,
  reason, occurred_at, request_id, trace_id, detail
)
SELECT $1, e.id, e.org_id, e.actor, e.on_behalf_of, e.via, e.subject, e.permission, e.action,
  e.resource, e.outcome, e.reason, to_timestamp(e.occurred_at_ms / 1000.0), e.request_id,
  e.trace_id, e.detail
FROM unnest(
  $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
  $10::text[], $11::text[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::jsonb[]
) AS e (
  id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome, reason, occurred_at_ms, request_id,
  trace_id, detail
)
ON CONFLICT DO NOTHING;
