-- Shadow evaluation of proposals, in the platform tenant.

-- name: find_shadowed
-- The open proposal that replicas evaluate at $2.
SELECT id, digest, shadow_until, shadow_per_second
FROM authz.policy_proposal
WHERE tenant_id = $1 AND state = 'OPEN' AND shadow_until > $2
ORDER BY shadow_until DESC, id
LIMIT 1;

-- name: start_shadow
-- Evaluate one open proposal until $3, and no other.
UPDATE authz.policy_proposal
SET shadow_until = CASE WHEN id = $2 THEN $3::timestamptz END,
  shadow_per_second = CASE WHEN id = $2 THEN $4 ELSE shadow_per_second END
WHERE tenant_id = $1 AND state = 'OPEN' AND (id = $2 OR shadow_until IS NOT NULL)
RETURNING id;

-- name: forget_counts
-- A new run counts anew.
DELETE FROM authz.policy_shadow WHERE tenant_id = $1 AND proposal_id = $2;

-- name: keep_counts
-- What one replica has seen so far.
INSERT INTO authz.policy_shadow AS s
  (tenant_id, proposal_id, replica_id, evaluated, skipped, allow_to_deny, deny_to_allow, other,
   samples, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT ON CONSTRAINT policy_shadow_pkey DO UPDATE SET
  evaluated = excluded.evaluated, skipped = excluded.skipped,
  allow_to_deny = excluded.allow_to_deny, deny_to_allow = excluded.deny_to_allow,
  other = excluded.other, samples = excluded.samples, updated_at = excluded.updated_at;

-- name: list_counts
-- What every replica has seen.
SELECT evaluated, skipped, allow_to_deny, deny_to_allow, other, samples, updated_at
FROM authz.policy_shadow
WHERE tenant_id = $1 AND proposal_id = $2
ORDER BY replica_id;
