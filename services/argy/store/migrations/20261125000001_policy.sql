-- Policies from proposal to activation. They speak for every tenant, so their rows are the platform
-- tenant's. What was signed is kept as it was signed: bundles, approvals and activations are
-- insert-only by privilege.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

CREATE TABLE authz.policy_bundle (
  tenant_id uuid NOT NULL
    CONSTRAINT policy_bundle_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  -- SHA-256 of the signed payload, 64 hexadecimal digits.
  digest text NOT NULL CONSTRAINT policy_bundle_digest_form CHECK (digest ~ '^[0-9a-f]{64}$'),
  envelope bytea NOT NULL CONSTRAINT policy_bundle_size
    CHECK (octet_length(envelope) BETWEEN 1 AND 3145728),
  policy_revision text NOT NULL CONSTRAINT policy_bundle_revision_form
    CHECK (policy_revision ~ '^[0-9a-f]{64}$'),
  git_commit text NOT NULL DEFAULT '' CONSTRAINT policy_bundle_commit_form
    CHECK (git_commit ~ '^([0-9a-f]{40}|[0-9a-f]{64})?$'),
  -- When it was committed, so that an older policy is told from a newer one.
  committed_at timestamptz,
  created_by text NOT NULL CONSTRAINT policy_bundle_created_by_length
    CHECK (length(created_by) BETWEEN 1 AND 256),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policy_bundle_pkey PRIMARY KEY (tenant_id, digest)
);

CREATE TABLE authz.policy_proposal (
  tenant_id uuid NOT NULL
    CONSTRAINT policy_proposal_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  digest text NOT NULL,
  base_digest text NOT NULL,
  diff_digest text NOT NULL CONSTRAINT policy_proposal_diff_form
    CHECK (diff_digest ~ '^[0-9a-f]{64}$'),
  -- The changes that are shown, as JSON text.
  changes text NOT NULL CONSTRAINT policy_proposal_changes_size
    CHECK (octet_length(changes) <= 4194304),
  change_count bigint NOT NULL CONSTRAINT policy_proposal_change_count_positive
    CHECK (change_count >= 0),
  approvals_needed bigint NOT NULL CONSTRAINT policy_proposal_needed_range
    CHECK (approvals_needed BETWEEN 1 AND 10),
  title text NOT NULL CONSTRAINT policy_proposal_title_length
    CHECK (length(title) BETWEEN 1 AND 200),
  description text NOT NULL DEFAULT '' CONSTRAINT policy_proposal_description_length
    CHECK (length(description) <= 4000),
  author text NOT NULL CONSTRAINT policy_proposal_author_length
    CHECK (length(author) BETWEEN 3 AND 256),
  state text NOT NULL DEFAULT 'OPEN' CONSTRAINT policy_proposal_state_known
    CHECK (state IN ('OPEN', 'REJECTED', 'ACTIVATED')),
  rejection text NOT NULL DEFAULT '' CONSTRAINT policy_proposal_rejection_length
    CHECK (length(rejection) <= 2000),
  created_at timestamptz NOT NULL DEFAULT now(),
  shadow_until timestamptz,
  shadow_per_second bigint NOT NULL DEFAULT 1000 CONSTRAINT policy_proposal_shadow_rate
    CHECK (shadow_per_second BETWEEN 1 AND 100000),
  request_id uuid,
  CONSTRAINT policy_proposal_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT policy_proposal_request_id_key UNIQUE (tenant_id, request_id),
  CONSTRAINT policy_proposal_bundle_fkey FOREIGN KEY (tenant_id, digest)
    REFERENCES authz.policy_bundle,
  CONSTRAINT policy_proposal_base_fkey FOREIGN KEY (tenant_id, base_digest)
    REFERENCES authz.policy_bundle
);
CREATE INDEX policy_proposal_bundle_idx ON authz.policy_proposal (tenant_id, digest);
CREATE INDEX policy_proposal_base_idx ON authz.policy_proposal (tenant_id, base_digest);

CREATE TABLE authz.policy_approval (
  tenant_id uuid NOT NULL
    CONSTRAINT policy_approval_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  proposal_id uuid NOT NULL,
  approver text NOT NULL CONSTRAINT policy_approval_approver_length
    CHECK (length(approver) BETWEEN 3 AND 256),
  bundle_digest text NOT NULL CONSTRAINT policy_approval_bundle_form
    CHECK (bundle_digest ~ '^[0-9a-f]{64}$'),
  diff_digest text NOT NULL CONSTRAINT policy_approval_diff_form
    CHECK (diff_digest ~ '^[0-9a-f]{64}$'),
  comment text NOT NULL DEFAULT '' CONSTRAINT policy_approval_comment_length
    CHECK (length(comment) <= 2000),
  -- The signed statement (a DSSE envelope).
  statement bytea NOT NULL CONSTRAINT policy_approval_statement_size
    CHECK (octet_length(statement) BETWEEN 1 AND 16384),
  created_at timestamptz NOT NULL DEFAULT now(),
  -- A new diff may be approved anew.
  CONSTRAINT policy_approval_pkey PRIMARY KEY (tenant_id, proposal_id, approver, diff_digest),
  CONSTRAINT policy_approval_proposal_fkey FOREIGN KEY (tenant_id, proposal_id)
    REFERENCES authz.policy_proposal ON DELETE CASCADE
);

CREATE TABLE authz.policy_activation (
  tenant_id uuid NOT NULL
    CONSTRAINT policy_activation_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  sequence bigint NOT NULL CONSTRAINT policy_activation_sequence_positive CHECK (sequence > 0),
  digest text NOT NULL,
  kind text NOT NULL CONSTRAINT policy_activation_kind_known
    CHECK (kind IN ('PROPOSAL', 'ROLLBACK', 'BOOTSTRAP', 'FOLDER')),
  proposal_id uuid,
  activated_by text NOT NULL CONSTRAINT policy_activation_activated_by_length
    CHECK (length(activated_by) BETWEEN 3 AND 256),
  reason text NOT NULL DEFAULT '' CONSTRAINT policy_activation_reason_length
    CHECK (length(reason) <= 2000),
  -- The signed statement (a DSSE envelope), approvals included.
  statement bytea NOT NULL CONSTRAINT policy_activation_statement_size
    CHECK (octet_length(statement) BETWEEN 1 AND 262144),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policy_activation_pkey PRIMARY KEY (tenant_id, sequence),
  CONSTRAINT policy_activation_bundle_fkey FOREIGN KEY (tenant_id, digest)
    REFERENCES authz.policy_bundle,
  CONSTRAINT policy_activation_proposal_fkey FOREIGN KEY (tenant_id, proposal_id)
    REFERENCES authz.policy_proposal,
  CONSTRAINT policy_activation_proposal_named CHECK ((kind = 'PROPOSAL') = (proposal_id IS NOT NULL))
);
CREATE INDEX policy_activation_bundle_idx ON authz.policy_activation (tenant_id, digest);
CREATE INDEX policy_activation_proposal_idx ON authz.policy_activation (tenant_id, proposal_id);

-- What each replica saw while it shadowed a proposal.
CREATE TABLE authz.policy_shadow (
  tenant_id uuid NOT NULL
    CONSTRAINT policy_shadow_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  proposal_id uuid NOT NULL,
  replica_id uuid NOT NULL,
  evaluated bigint NOT NULL CONSTRAINT policy_shadow_evaluated_positive CHECK (evaluated >= 0),
  skipped bigint NOT NULL CONSTRAINT policy_shadow_skipped_positive CHECK (skipped >= 0),
  allow_to_deny bigint NOT NULL CONSTRAINT policy_shadow_lost_positive CHECK (allow_to_deny >= 0),
  deny_to_allow bigint NOT NULL CONSTRAINT policy_shadow_gained_positive CHECK (deny_to_allow >= 0),
  other bigint NOT NULL CONSTRAINT policy_shadow_other_positive CHECK (other >= 0),
  -- At most 100 differences, as JSON text.
  samples text NOT NULL DEFAULT '[]' CONSTRAINT policy_shadow_samples_size
    CHECK (octet_length(samples) <= 262144),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT policy_shadow_pkey PRIMARY KEY (tenant_id, proposal_id, replica_id),
  CONSTRAINT policy_shadow_proposal_fkey FOREIGN KEY (tenant_id, proposal_id)
    REFERENCES authz.policy_proposal ON DELETE CASCADE
);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY[
    'policy_bundle', 'policy_proposal', 'policy_approval', 'policy_activation', 'policy_shadow'
  ] LOOP
    EXECUTE format('ALTER TABLE authz.%I ENABLE ROW LEVEL SECURITY', name);
    EXECUTE format('ALTER TABLE authz.%I FORCE ROW LEVEL SECURITY', name);
    EXECUTE format($policy$
      CREATE POLICY tenant_rows ON authz.%I
      USING (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
      WITH CHECK (tenant_id = (SELECT nullif(current_setting('app.tenant_id', true), '')::uuid))
    $policy$, name);
  END LOOP;
END
$$;

-- Every replica hears of a new activation, and of a shadow that begins or ends.
CREATE FUNCTION authz.announce_policy() RETURNS trigger
LANGUAGE plpgsql SET search_path = '' AS $$
BEGIN
  PERFORM pg_catalog.pg_notify('authz_policy', TG_TABLE_NAME);
  RETURN NULL;
END
$$;
REVOKE ALL ON FUNCTION authz.announce_policy() FROM PUBLIC;
CREATE TRIGGER policy_activation_announce AFTER INSERT ON authz.policy_activation
  FOR EACH ROW EXECUTE FUNCTION authz.announce_policy();
CREATE TRIGGER policy_proposal_announce AFTER UPDATE ON authz.policy_proposal
  FOR EACH ROW EXECUTE FUNCTION authz.announce_policy();

GRANT SELECT, INSERT ON authz.policy_bundle, authz.policy_approval, authz.policy_activation
  TO argy_authz;
-- A bundle that one has signed may be signed by another as well.
GRANT UPDATE (envelope) ON authz.policy_bundle TO argy_authz;
GRANT SELECT, INSERT, UPDATE (
  base_digest, diff_digest, changes, change_count, approvals_needed, state, rejection,
  shadow_until, shadow_per_second
) ON authz.policy_proposal TO argy_authz;
GRANT SELECT, INSERT, DELETE, UPDATE (
  evaluated, skipped, allow_to_deny, deny_to_allow, other, samples, updated_at
) ON authz.policy_shadow TO argy_authz;

-- A policy's impact is told tenant by tenant: authz lists the tenants, as the directory does.
ALTER POLICY platform_reads_tenants ON directory.tenant TO argy_directory, argy_authz;

RESET ROLE;

-- migrate:down
ALTER POLICY platform_reads_tenants ON directory.tenant TO argy_directory;
DROP TABLE authz.policy_shadow, authz.policy_activation, authz.policy_approval,
  authz.policy_proposal, authz.policy_bundle;
DROP FUNCTION authz.announce_policy();
