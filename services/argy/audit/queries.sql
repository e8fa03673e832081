-- Each query that opens with an equality has an index of its own; the filters that may be empty
-- narrow what it finds. Ids are UUIDv7: a range of ids is a range of time, and prunes partitions.

-- name: find_event
-- One event; with an org ($3) only if it is that org's.
SELECT id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome, reason,
  occurred_at, recorded_at, request_id, trace_id, detail
FROM audit.event
WHERE tenant_id = $1 AND id = $2 AND ($3::uuid IS NULL OR org_id = $3);

-- name: list_events
-- A page of events with $2 <= id < $3, newest first; empty filters and a null org ($4) mean all.
SELECT id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome, reason,
  occurred_at, recorded_at, request_id, trace_id, detail
FROM audit.event
WHERE tenant_id = $1 AND id >= $2 AND id < $3
  AND ($4::uuid IS NULL OR org_id = $4)
  AND ($5 = '' OR actor = $5 OR on_behalf_of = $5)
  AND ($6 = '' OR action = $6)
  AND ($7 = '' OR resource = $7)
  AND ($8 = '' OR outcome = $8)
  AND ($9 = '' OR request_id = $9)
  AND ($10 = '' OR subject = $10)
ORDER BY id DESC
LIMIT $11;

-- name: list_events_of_actor
-- As list_events, for one actor, or whom somebody acted for.
SELECT id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome, reason,
  occurred_at, recorded_at, request_id, trace_id, detail
FROM audit.event
WHERE tenant_id = $1 AND id >= $2 AND id < $3
  AND ($4::uuid IS NULL OR org_id = $4)
  AND (actor = $5 OR (on_behalf_of = $5 AND on_behalf_of <> ''))
  AND ($6 = '' OR action = $6)
  AND ($7 = '' OR resource = $7)
  AND ($8 = '' OR outcome = $8)
  AND ($9 = '' OR request_id = $9)
  AND ($10 = '' OR subject = $10)
ORDER BY id DESC
LIMIT $11;

-- name: list_events_of_resource
-- As list_events, for one resource.
SELECT id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome, reason,
  occurred_at, recorded_at, request_id, trace_id, detail
FROM audit.event
WHERE tenant_id = $1 AND id >= $2 AND id < $3
  AND ($4::uuid IS NULL OR org_id = $4)
  AND ($5 = '' OR actor = $5 OR on_behalf_of = $5)
  AND ($6 = '' OR action = $6)
  AND resource = $7
  AND ($8 = '' OR outcome = $8)
  AND ($9 = '' OR request_id = $9)
  AND ($10 = '' OR subject = $10)
ORDER BY id DESC
LIMIT $11;

-- name: list_events_of_request
-- As list_events, for one request.
SELECT id, org_id, actor, on_behalf_of, via, subject, permission, action, resource, outcome, reason,
  occurred_at, recorded_at, request_id, trace_id, detail
FROM audit.event
WHERE tenant_id = $1 AND id >= $2 AND id < $3
  AND ($4::uuid IS NULL OR org_id = $4)
  AND ($5 = '' OR actor = $5 OR on_behalf_of = $5)
  AND ($6 = '' OR action = $6)
  AND ($7 = '' OR resource = $7)
  AND ($8 = '' OR outcome = $8)
  AND request_id = $9 AND request_id <> ''
  AND ($10 = '' OR subject = $10)
ORDER BY id DESC
LIMIT $11;
