-- name: has_open_review
-- Whether a subject broke the glass and nobody has closed the review yet.
SELECT EXISTS (
  SELECT FROM authz.elevation WHERE tenant_id = $1 AND subject = $2 AND review = 'OPEN'
);

-- name: insert_elevation
-- Keep what was given, to whom, for how long and why.
INSERT INTO authz.elevation
  (tenant_id, id, assignment_id, subject, role, org_id, reason, break_glass, created_at,
   expires_at, review, request_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12);

-- name: find_elevation_by_request
-- The elevation that an earlier call with this idempotency key made.
SELECT id, assignment_id, subject, role, org_id, reason, break_glass, created_at, expires_at,
  ended_at, review, reviewed_by, review_comment
FROM authz.elevation
WHERE tenant_id = $1 AND request_id = $2;

-- name: find_elevation
-- One elevation, locked; with an org ($3) only one that was given in that org.
SELECT id, assignment_id, subject, role, org_id, reason, break_glass, created_at, expires_at,
  ended_at, review, reviewed_by, review_comment
FROM authz.elevation
WHERE tenant_id = $1 AND id = $2 AND ($3::uuid IS NULL OR org_id = $3)
FOR UPDATE;

-- name: end_elevation
-- Note when a role was given back.
UPDATE authz.elevation SET ended_at = $3 WHERE tenant_id = $1 AND id = $2 AND ended_at IS NULL;

-- name: close_review
-- Close an open review; never by whoever broke the glass.
UPDATE authz.elevation SET review = $3, reviewed_by = $4, review_comment = $5
WHERE tenant_id = $1 AND id = $2 AND review = 'OPEN' AND subject <> $4;

-- name: has_appointed
-- Whether $3 holds a role that $2 gave to them, or to a group of theirs, from $4 on; or by a group
-- that they joined since, for nothing says who let them in.
SELECT EXISTS (
  SELECT FROM authz.role_assignment AS a
  WHERE a.tenant_id = $1
    AND (a.subject = $3 AND a.created_by = $2 AND a.created_at >= $4 OR EXISTS (
      SELECT FROM directory.group_member AS m
      WHERE m.tenant_id = $1 AND 'user:' || m.user_id = $3 AND 'group:' || m.group_id = a.subject
        AND (m.created_at >= $4 OR a.created_by = $2 AND a.created_at >= $4)
    ))
);

-- name: list_elevations
-- A page of elevations before $5, newest first. $3 is an org or null for all, $4 a review state or ''
-- for all, $6 whose own they must be or '' for anybody's.
SELECT id, assignment_id, subject, role, org_id, reason, break_glass, created_at, expires_at,
  ended_at, review, reviewed_by, review_comment
FROM authz.elevation
WHERE tenant_id = $1
  AND ($3::uuid IS NULL OR org_id = $3)
  AND ($4 = '' OR review = $4)
  AND ($5::uuid IS NULL OR id < $5)
  AND ($6 = '' OR subject = $6)
ORDER BY id DESC
LIMIT $2;
