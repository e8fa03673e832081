-- Approvals of single actions, and roles held for a while.

-- migrate:up
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = '60s';
SET LOCAL ROLE argy_owner;

CREATE TABLE authz.approval (
  tenant_id uuid NOT NULL
    CONSTRAINT approval_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  org_id uuid,
  subject text NOT NULL CONSTRAINT approval_subject_length CHECK (length(subject) BETWEEN 3 AND 256),
  action text NOT NULL CONSTRAINT approval_action_length CHECK (length(action) BETWEEN 1 AND 64),
  resource text NOT NULL CONSTRAINT approval_resource_length
    CHECK (length(resource) BETWEEN 1 AND 512),
  -- SHA-256 of what would be done; empty when the requester gave none.
  request_digest text NOT NULL DEFAULT '' CONSTRAINT approval_request_digest_form
    CHECK (request_digest ~ '^([0-9a-f]{64})?$'),
  -- The facts that conditions see, when it is requested and when it is redeemed.
  context jsonb CONSTRAINT approval_context_size CHECK (pg_column_size(context) <= 65536),
  requester text NOT NULL CONSTRAINT approval_requester_length
    CHECK (length(requester) BETWEEN 3 AND 256),
  reason text NOT NULL CONSTRAINT approval_reason_length CHECK (length(reason) BETWEEN 1 AND 2000),
  -- What the policy asked for, as JSON text: rule, approvals, roles.
  requirements text NOT NULL CONSTRAINT approval_requirements_size
    CHECK (octet_length(requirements) BETWEEN 2 AND 65536),
  policy_revision text NOT NULL CONSTRAINT approval_policy_revision_form
    CHECK (policy_revision ~ '^[0-9a-f]{64}$'),
  state text NOT NULL DEFAULT 'PENDING' CONSTRAINT approval_state_known
    CHECK (state IN ('PENDING', 'GRANTED', 'REJECTED', 'CANCELLED', 'REDEEMED')),
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  redeemed_at timestamptz,
  request_id uuid,
  CONSTRAINT approval_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT approval_org_fkey FOREIGN KEY (tenant_id, org_id)
    REFERENCES directory.org ON DELETE CASCADE,
  CONSTRAINT approval_request_id_key UNIQUE (tenant_id, request_id),
  CONSTRAINT approval_redeemed_once CHECK ((state = 'REDEEMED') = (redeemed_at IS NOT NULL))
);
CREATE INDEX approval_org_idx ON authz.approval (tenant_id, org_id);
CREATE INDEX approval_subject_idx ON authz.approval (tenant_id, subject, id);

-- One vote a person and request; votes are not changed.
CREATE TABLE authz.approval_vote (
  tenant_id uuid NOT NULL
    CONSTRAINT approval_vote_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  approval_id uuid NOT NULL,
  approver text NOT NULL CONSTRAINT approval_vote_approver_length
    CHECK (length(approver) BETWEEN 3 AND 256),
  approved boolean NOT NULL,
  comment text NOT NULL DEFAULT '' CONSTRAINT approval_vote_comment_length
    CHECK (length(comment) <= 2000),
  created_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT approval_vote_pkey PRIMARY KEY (tenant_id, approval_id, approver),
  CONSTRAINT approval_vote_approval_fkey FOREIGN KEY (tenant_id, approval_id)
    REFERENCES authz.approval ON DELETE CASCADE
);

CREATE TABLE authz.elevation (
  tenant_id uuid NOT NULL
    CONSTRAINT elevation_tenant_fkey REFERENCES directory.tenant ON DELETE CASCADE,
  id uuid NOT NULL,
  -- The assignment may be gone; what it was is told here.
  assignment_id uuid NOT NULL,
  subject text NOT NULL CONSTRAINT elevation_subject_length
    CHECK (length(subject) BETWEEN 3 AND 256),
  role text NOT NULL CONSTRAINT elevation_role_form
    CHECK (length(role) <= 128 AND role ~ '^role:[A-Z][A-Z0-9_]*$'),
  org_id uuid,
  reason text NOT NULL CONSTRAINT elevation_reason_length CHECK (length(reason) BETWEEN 1 AND 500),
  break_glass boolean NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  ended_at timestamptz,
  review text NOT NULL CONSTRAINT elevation_review_known
    CHECK (review IN ('NOT_NEEDED', 'OPEN', 'JUSTIFIED', 'UNJUSTIFIED')),
  reviewed_by text NOT NULL DEFAULT '' CONSTRAINT elevation_reviewed_by_length
    CHECK (length(reviewed_by) <= 256),
  review_comment text NOT NULL DEFAULT '' CONSTRAINT elevation_review_comment_length
    CHECK (length(review_comment) <= 2000),
  request_id uuid,
  CONSTRAINT elevation_pkey PRIMARY KEY (tenant_id, id),
  CONSTRAINT elevation_org_fkey FOREIGN KEY (tenant_id, org_id)
    REFERENCES directory.org ON DELETE CASCADE,
  CONSTRAINT elevation_request_id_key UNIQUE (tenant_id, request_id),
  CONSTRAINT elevation_reviewed_when_broken
    CHECK (break_glass = (review <> 'NOT_NEEDED')),
  CONSTRAINT elevation_reviewed_by_another CHECK (reviewed_by <> subject)
);
CREATE INDEX elevation_org_idx ON authz.elevation (tenant_id, org_id);
CREATE INDEX elevation_subject_idx ON authz.elevation (tenant_id, subject, id);

DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['approval', 'approval_vote', 'elevation'] LOOP
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

GRANT SELECT, INSERT, UPDATE (state, redeemed_at) ON authz.approval TO argy_authz;
GRANT SELECT, INSERT ON authz.approval_vote TO argy_authz;
GRANT SELECT, INSERT, UPDATE (ended_at, review, reviewed_by, review_comment)
  ON authz.elevation TO argy_authz;

RESET ROLE;

-- migrate:down
DROP TABLE authz.elevation, authz.approval_vote, authz.approval;
