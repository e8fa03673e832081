-- name: list_paths
-- Every way by which the subjects $2, of whom $3 are users, hold roles at $4: with who gave each
-- link, when, and what the giver owed; ends are rounded down to milliseconds.
SELECT a.subject, a.role, coalesce(o.slug, '') AS org,
  floor(extract(epoch FROM a.expires_at) * 1000)::bigint AS expires_at_ms,
  a.created_by, a.created_at, a.owes::text AS owes,
  NULL::text AS let_in_by, NULL::timestamptz AS let_in_at, NULL::text AS member_owes
FROM authz.role_assignment AS a
LEFT JOIN directory.org AS o USING (tenant_id, org_id)
WHERE a.tenant_id = $1 AND a.subject = ANY($2::text[])
  AND (a.expires_at IS NULL OR a.expires_at > $4)
UNION ALL
SELECT 'user:' || m.user_id, a.role, coalesce(o.slug, ''),
  floor(extract(epoch FROM a.expires_at) * 1000)::bigint,
  a.created_by, a.created_at, a.owes::text, m.created_by, m.created_at, m.owes::text
FROM directory.group_member AS m
JOIN authz.role_assignment AS a
  ON a.tenant_id = m.tenant_id AND a.subject = 'group:' || m.group_id
LEFT JOIN directory.org AS o ON o.tenant_id = a.tenant_id AND o.org_id = a.org_id
WHERE m.tenant_id = $1 AND m.user_id = ANY($3::uuid[])
  AND (a.expires_at IS NULL OR a.expires_at > $4);
