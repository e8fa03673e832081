-- Whose giving stands behind each way by which somebody holds power: kept with the way itself, so
-- that taking away what lies between hides nothing.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

-- squawk-ignore-file constraint-missing-not-valid
-- Who let the member in; empty where nobody said, which counts as given by anybody.
ALTER TABLE directory.group_member
  ADD COLUMN created_by text NOT NULL DEFAULT ''
    CONSTRAINT group_member_created_by_length CHECK (length(created_by) <= 256),
  -- To whom the giver owed the power to give it, and since when: {subject: Unix milliseconds}.
  ADD COLUMN owes jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT group_member_owes_form
    CHECK (jsonb_typeof(owes) = 'object' AND length(owes::text) <= 32768);
ALTER TABLE authz.role_assignment
  ADD COLUMN owes jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT role_assignment_owes_form
    CHECK (jsonb_typeof(owes) = 'object' AND length(owes::text) <= 32768);

-- To whom ``who`` owes what they hold at a moment: each giver with the time of what they gave.
--
-- A path is one way to hold a role: an assignment of one's own, or a membership with an assignment
-- of the group. It owes to whoever made its links, and to all to whom those links owe. Of a role
-- that comes by several paths, each as wide and as lasting, the one of the oldest giving counts:
-- what was held anyway owes nothing to who gave it once more. Which of the roles gave the power is
-- a question of policy, which this can't ask: all of them count.
--
-- Of more than 64 givers the newest 63 are named, and '*', anybody, stands for the others.
CREATE FUNCTION authz.upstream_of(tenant uuid, who text, moment timestamptz) RETURNS jsonb
LANGUAGE sql STABLE SET search_path = '' AS $$
  WITH path AS (
    SELECT row_number() OVER () AS id, held.* FROM (
      SELECT a.role, a.org_id, a.expires_at, a.created_by, a.created_at, a.owes,
        NULL::text AS let_in_by, NULL::timestamptz AS let_in_at, '{}'::jsonb AS member_owes
      FROM authz.role_assignment AS a
      WHERE a.tenant_id = tenant AND a.subject = who
        AND (a.expires_at IS NULL OR a.expires_at > moment)
      UNION ALL
      SELECT a.role, a.org_id, a.expires_at, a.created_by, a.created_at, a.owes,
        m.created_by, m.created_at, m.owes
      FROM directory.group_member AS m
      JOIN authz.role_assignment AS a
        ON a.tenant_id = m.tenant_id AND a.subject = 'group:' || m.group_id
      WHERE m.tenant_id = tenant
        AND m.user_id = CASE
          WHEN who ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN substr(who, 6)::uuid
        END
        AND (a.expires_at IS NULL OR a.expires_at > moment)
    ) AS held
  ), debt AS (
    SELECT p.id, d.giver, max(d.given_ms) AS given_ms
    FROM path AS p
    CROSS JOIN LATERAL (
      SELECT p.created_by AS giver, floor(extract(epoch FROM p.created_at) * 1000)::bigint
        AS given_ms
      UNION ALL
      SELECT coalesce(nullif(p.let_in_by, ''), '*'),
        floor(extract(epoch FROM p.let_in_at) * 1000)::bigint
      WHERE p.let_in_at IS NOT NULL
      UNION ALL
      SELECT e.key, e.value::bigint FROM jsonb_each_text(p.owes) AS e
      UNION ALL
      SELECT e.key, e.value::bigint FROM jsonb_each_text(p.member_owes) AS e
    ) AS d
    GROUP BY p.id, d.giver
  ), newest AS (
    SELECT id, max(given_ms) AS given_ms FROM debt GROUP BY id
  ), standing AS (
    SELECT DISTINCT ON (p.id) other.id
    FROM path AS p
    JOIN path AS other
      ON other.role = p.role
      AND (other.org_id IS NULL OR other.org_id = p.org_id)
      AND (other.expires_at IS NULL OR other.expires_at >= p.expires_at)
    JOIN newest ON newest.id = other.id
    ORDER BY p.id, newest.given_ms, other.id
  ), owed AS (
    SELECT giver, max(given_ms) AS given_ms,
      row_number() OVER (ORDER BY max(given_ms) DESC, giver) AS place
    FROM debt WHERE id IN (SELECT id FROM standing)
    GROUP BY giver
  ), named AS (
    SELECT CASE WHEN place < 64 THEN giver ELSE '*' END AS giver, max(given_ms) AS given_ms
    FROM owed GROUP BY 1
  )
  SELECT coalesce(jsonb_object_agg(giver, given_ms), '{}') FROM named
$$;

-- Row-level security holds for the owner too: only the current tenant's rows are looked at.
CREATE FUNCTION authz.note_upstream() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $$
BEGIN
  NEW.owes := authz.upstream_of(NEW.tenant_id, NEW.created_by, NEW.created_at);
  RETURN NEW;
END
$$;
REVOKE ALL ON FUNCTION authz.upstream_of(uuid, text, timestamptz), authz.note_upstream()
  FROM PUBLIC;

-- Whatever makes a link, nothing but this says what it owes.
CREATE TRIGGER role_assignment_note_upstream
  BEFORE INSERT OR UPDATE ON authz.role_assignment
  FOR EACH ROW EXECUTE FUNCTION authz.note_upstream();
CREATE TRIGGER group_member_note_upstream
  BEFORE INSERT OR UPDATE ON directory.group_member
  FOR EACH ROW EXECUTE FUNCTION authz.note_upstream();

-- Whether an asker might have given the voter at will what they voted by.
ALTER TABLE authz.approval_vote ADD COLUMN asker_may_grant boolean NOT NULL DEFAULT false;
ALTER TABLE authz.policy_approval ADD COLUMN asker_may_grant boolean NOT NULL DEFAULT false;
GRANT UPDATE (asker_may_grant) ON authz.policy_approval TO argy_authz;
ALTER TABLE authz.elevation ADD COLUMN asker_may_grant boolean NOT NULL DEFAULT false;
GRANT UPDATE (asker_may_grant) ON authz.elevation TO argy_authz;

-- An org may go, and what was done in it is still looked at. The assignment of the same transaction
-- refers to the org, so that none is named that never was.
-- squawk-ignore ban-drop-constraint
ALTER TABLE authz.elevation DROP CONSTRAINT elevation_org_fkey;
ALTER TABLE authz.elevation ADD COLUMN org_slug text NOT NULL DEFAULT ''
  CONSTRAINT elevation_org_slug_length CHECK (length(org_slug) <= 63);

-- Everybody who made a policy, as subjects: who proposed it, who signed it, who wrote it; and of
-- whom nothing but an address is known. How the proposer had signed in, as with approvals.
ALTER TABLE authz.policy_proposal
  ADD COLUMN makers text[] NOT NULL DEFAULT '{}'
    CONSTRAINT policy_proposal_makers_size CHECK (cardinality(makers) <= 256),
  ADD COLUMN unknown_makers text[] NOT NULL DEFAULT '{}'
    CONSTRAINT policy_proposal_unknown_makers_size CHECK (cardinality(unknown_makers) <= 256),
  ADD COLUMN signed_in jsonb
    CONSTRAINT policy_proposal_signed_in_form
    CHECK (jsonb_typeof(signed_in) = 'object' AND length(signed_in::text) <= 4096);

-- Which people have these addresses. Addresses are the directory's: asked about, not handed out.
CREATE FUNCTION directory.people_of(tenant uuid, addresses text[])
RETURNS TABLE (address text, subject text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
  SELECT u.email_key, 'user:' || u.user_id
  FROM directory.user_account AS u
  WHERE u.tenant_id = tenant AND u.email_key = ANY (addresses)
$$;
REVOKE ALL ON FUNCTION directory.people_of(uuid, text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION directory.people_of(uuid, text[]) TO argy_authz;

RESET ROLE;

-- migrate:down
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
DROP FUNCTION directory.people_of(uuid, text[]);
ALTER TABLE authz.policy_proposal
  DROP COLUMN signed_in, DROP COLUMN unknown_makers, DROP COLUMN makers;
ALTER TABLE authz.elevation DROP COLUMN org_slug;
ALTER TABLE authz.elevation ADD CONSTRAINT elevation_org_fkey FOREIGN KEY (tenant_id, org_id)
  REFERENCES directory.org ON DELETE CASCADE NOT VALID;
ALTER TABLE authz.elevation DROP COLUMN asker_may_grant;
ALTER TABLE authz.policy_approval DROP COLUMN asker_may_grant;
ALTER TABLE authz.approval_vote DROP COLUMN asker_may_grant;
DROP TRIGGER group_member_note_upstream ON directory.group_member;
DROP TRIGGER role_assignment_note_upstream ON authz.role_assignment;
DROP FUNCTION authz.note_upstream(), authz.upstream_of(uuid, text, timestamptz);
ALTER TABLE authz.role_assignment DROP COLUMN owes;
ALTER TABLE directory.group_member DROP COLUMN owes, DROP COLUMN created_by;
