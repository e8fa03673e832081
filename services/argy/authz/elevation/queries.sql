-- name: has_open_review
-- Whether a subject broke the glass and nobody has closed the review yet.
SELECT EXISTS (
  SELECT FROM authz.elevation WHERE tenant_id = $1 AND subject = $2 AND review = 'OPEN'
);

-- name: insert_elevation
-- Keep what was given, to whom, for how long and why.
INSERT INTO authz.elevation
  (tenant_id, id, assignment_id, subject, role, org_id, reason, break_glass, created_at,
   expires_at, review, request_id, org_slug)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13);

-- name: find_elevation_by_request
-- The elevation that an earlier call with this idempotency key made.
SELECT e.id, e.assignment_id, e.subject, e.role, e.org_id, coalesce(o.slug, e.org_slug) AS org_slug,
  e.org_id IS NOT NULL AND o.org_id IS NULL AS org_gone, e.reason, e.break_glass, e.created_at,
  e.expires_at, e.ended_at, e.review, e.reviewed_by, e.review_comment, e.asker_may_grant
FROM authz.elevation AS e
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE e.tenant_id = $1 AND e.request_id = $2;

-- name: find_elevation
-- One elevation, locked; with an org ($3) only one that was given in that org.
SELECT e.id, e.assignment_id, e.subject, e.role, e.org_id, coalesce(o.slug, e.org_slug) AS org_slug,
  e.org_id IS NOT NULL AND o.org_id IS NULL AS org_gone, e.reason, e.break_glass, e.created_at,
  e.expires_at, e.ended_at, e.review, e.reviewed_by, e.review_comment, e.asker_may_grant
FROM authz.elevation AS e
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE e.tenant_id = $1 AND e.id = $2 AND ($3::uuid IS NULL OR e.org_id = $3)
FOR UPDATE OF e;

-- name: end_elevation
-- Note when a role was given back.
UPDATE authz.elevation SET ended_at = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL;

-- name: close_review
-- Close an open review; never by whoever broke the glass.
UPDATE authz.elevation
SET review = $3, reviewed_by = $4, review_comment = $5, asker_may_grant = $6
WHERE tenant_id = $1 AND id = $2 AND review = 'OPEN' AND subject <> $4;

-- name: list_elevations
-- A page of elevations before $5, newest first. $3 is an org or null for all, $4 a review state or ''
-- for all, $6 whose own they must be or '' for anybody's.
SELECT e.id, e.assignment_id, e.subject, e.role, e.org_id, coalesce(o.slug, e.org_slug) AS org_slug,
  e.org_id IS NOT NULL AND o.org_id IS NULL AS org_gone, e.reason, e.break_glass, e.created_at,
  e.expires_at, e.ended_at, e.review, e.reviewed_by, e.review_comment, e.asker_may_grant
FROM authz.elevation AS e
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE e.tenant_id = $1
  AND ($3::uuid IS NULL OR e.org_id = $3)
  AND ($4 = '' OR e.review = $4)
  AND ($5::uuid IS NULL OR e.id < $5)
  AND ($6 = '' OR e.subject = $6)
ORDER BY e.id DESC
LIMIT $2;
