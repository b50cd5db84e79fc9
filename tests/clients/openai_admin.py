"""The admin resources of the openai package, as it comes from PyPI, against a gateway.

Run by tests/e2e/openai_admin.rs, which starts the gateway and a scripted vLLM and passes what to do: `project` goes the
whole way from a project to its bill, `lists` reads every list in parts, `refused` does what must not work. Prints what
was used as JSON in the last line of `project`. Needs in the environment: GATE_URL (with /v1), GATE_ADMIN_KEY, GATEWAYS (how
many there are), and for `refused` GATE_KEY, the key of somebody who is no admin.
"""

import json
import os
import sys
import time
import typing

import openai
from openai.types.admin.organization.audit_log_list_params import AuditLogListParams

MODEL = "tiny"
MESSAGES = [{"role": "user", "content": "hi"}]


def admin(key=None, **options):
    """Administers; answers must have the shapes that the package documents, to the last member."""
    client = openai.OpenAI(
        base_url=os.environ["GATE_URL"],
        admin_api_key=key or os.environ["GATE_ADMIN_KEY"],
        _strict_response_validation=True,
        **options,
    )
    return client.admin.organization


def counting():
    """An admin, and the list of what is sent: the package repeats a conflict unless it is told not to."""
    sent = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    return admin(http_client=http), sent


def calling(key):
    return openai.OpenAI(base_url=os.environ["GATE_URL"], api_key=key, max_retries=0)


def fails(kind, call):
    try:
        call()
    except kind as error:
        assert type(error) is kind, f"{type(error).__name__}, not {kind.__name__}"
        return error
    raise AssertionError(f"no {kind.__name__}")


def is_out(call, error=openai.AuthenticationError):
    """Checks that a revoked or changed key is refused: at once by the gateway that has done it, and soon by any other.

    Another one may remember it for a second: they are asked until each of them refuses.
    """
    gateways, refused = int(os.environ["GATEWAYS"]), 0
    until = time.monotonic() + 30
    while refused < gateways:
        assert time.monotonic() < until, "it works on"
        try:
            call()
        except error:
            refused += 1
        else:
            assert gateways > 1, "the only one knows"
            refused = 0


def whole(page, size):
    """Follows a list to its end, as the package does, and checks that it was cut into parts."""
    assert len(page.data) <= size
    entries = list(page)
    assert len(entries) > size, "more than one part"
    assert len({entry.id for entry in entries}) == len(entries), "each once"
    return entries


def used(report, project, requests):
    """Asks for the usage of a project until all its calls are in the books."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        page = report(
            start_time=int(time.time()) - 3600,
            bucket_width="1h",
            project_ids=[project],
            group_by=["project_id", "model", "api_key_id"],
        )
        results = [result for bucket in page.data for result in bucket.results]
        if sum(result.num_model_requests for result in results) == requests:
            return results
    raise AssertionError("the calls are in no report")


# The whole way


def project_a_project_is_made_used_billed_and_closed():
    organization = admin()
    project = organization.projects.create(name="research")
    assert (project.object, project.status, project.name) == ("organization.project", "active", "research")
    assert organization.projects.retrieve(project.id) == project
    assert organization.projects.update(project.id, name="science").name == "science"

    service = organization.projects.service_accounts.create(project.id, name="ci")
    assert service.api_key.object == "organization.project.service_account.api_key"
    client = calling(service.api_key.value)
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content.startswith("Hello from a tiny model")
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    streamed = list(stream)[-1].usage
    embedded = client.embeddings.create(model=MODEL, input="one")

    results = used(organization.usage.completions, project.id, 2)
    assert all(result.object == "organization.usage.completions.result" for result in results)
    assert {(result.project_id, result.model, result.api_key_id) for result in results} == {
        (project.id, MODEL, service.api_key.id)
    }
    asked = sum(result.input_tokens for result in results)
    generated = sum(result.output_tokens for result in results)
    assert asked == answer.usage.prompt_tokens + streamed.prompt_tokens
    assert generated == answer.usage.completion_tokens + streamed.completion_tokens
    same = organization.usage.completions(
        start_time=int(time.time()) - 3600, group_by=["batch", "service_tier", "api_source"]
    )
    results = [result for bucket in same.data for result in bucket.results]
    assert {(result.batch, result.service_tier, result.api_source) for result in results} == {(False, None, "unlabeled")}
    results = used(organization.usage.embeddings, project.id, 1)
    assert sum(result.input_tokens for result in results) == embedded.usage.prompt_tokens
    costs = organization.usage.costs(
        start_time=int(time.time()) - 3600, project_ids=[project.id], group_by=["line_item", "api_source"]
    )
    results = [result for bucket in costs.data for result in bucket.results]
    assert all((result.line_item, result.amount.currency) == (MODEL, "usd") for result in results)
    assert all(result.api_source == "unlabeled" for result in results)
    assert {result.quantity_unit for result in results} == {"tokens"}
    assert sum(result.quantity for result in results) == asked + generated + embedded.usage.prompt_tokens

    limit = organization.projects.rate_limits.update_rate_limit(
        f"rl-{MODEL}", project_id=project.id, max_requests_per_1_minute=9
    )
    assert limit.max_requests_per_1_minute == 9
    limits = list(organization.projects.rate_limits.list_rate_limits(project.id))
    assert [(limit.model, limit.max_requests_per_1_minute) for limit in limits] == [(MODEL, 9)]

    listed = organization.projects.api_keys
    keys = list(listed.list(project.id, owner_project_access="active"))
    assert [(key.id, key.owner.type) for key in keys] == [(service.api_key.id, "service_account")]
    assert list(listed.list(project.id, owner_project_access="inactive")) == []
    assert keys[0].owner.service_account.id == service.id
    assert service.api_key.value not in keys[0].to_json()
    further = organization.projects.service_accounts.api_keys.create(
        service.id, project_id=project.id, name="nightly", scopes=["models"], expires_in_seconds=3600
    )
    assert (further.object, further.name) == (service.api_key.object, "nightly")
    assert further.expires_at == further.created_at + 3600
    assert list(calling(further.value).models.list())
    fails(
        openai.PermissionDeniedError,
        lambda: calling(further.value).chat.completions.create(model=MODEL, messages=MESSAGES),
    )
    changed = listed.update(further.id, project_id=project.id, scopes=["inference"], expires_in_seconds=60)
    assert (changed.id, changed.name) == (further.id, "nightly")
    assert changed.expires_at < further.expires_at
    is_out(lambda: calling(further.value).models.list(), openai.PermissionDeniedError)
    listed.update(further.id, project_id=project.id, scopes=[])
    assert listed.delete(further.id, project_id=project.id).deleted
    deleted = listed.delete(keys[0].id, project_id=project.id)
    assert (deleted.id, deleted.deleted) == (keys[0].id, True)
    # No calls here, of which a gateway that remembers the key begins some for nobody: those are further down.
    is_out(lambda: client.models.list())

    logs = organization.audit_logs.list(project_ids=[project.id], limit=100)
    assert [log.type for log in reversed(list(logs))] == [
        "project.created",
        "role.assignment.created",
        "project.updated",
        "service_account.created",
        "role.assignment.created",
        "api_key.created",
        "rate_limit.updated",
        "api_key.created",
        "api_key.updated",
        "api_key.updated",
        "api_key.deleted",
        "api_key.deleted",
    ]
    assert list(organization.audit_logs.list(event_types=["certificate.created"])) == [], "never done here"
    (words,) = typing.get_args(typing.get_type_hints(AuditLogListParams)["event_types"])
    assert organization.audit_logs.list(event_types=list(typing.get_args(words))).data, "all that the package knows"
    updated = list(organization.audit_logs.list(project_ids=[project.id], event_types=["rate_limit.updated"]))[0]
    assert updated.rate_limit_updated.id == limit.id
    assert updated.rate_limit_updated.changes_requested.max_requests_per_1_minute == 9
    widened = list(organization.audit_logs.list(project_ids=[project.id], event_types=["api_key.updated"]))[0]
    assert widened.api_key_updated.changes_requested.scopes == ["inference", "models", "usage"], "no scope is for all"
    assigned = list(organization.audit_logs.list(project_ids=[project.id], event_types=["role.assignment.created"]))[0]
    assert assigned.role_assignment_created.id == f"{project.id}/{service.id}"
    assert assigned.role_assignment_created.principal_type == "user"
    created = list(organization.audit_logs.list(project_ids=[project.id], event_types=["api_key.created"]))[-1]
    assert created.api_key_created.id == service.api_key.id
    assert created.actor.type == "api_key" and created.project.id == project.id
    since = {"gte": created.effective_at, "lte": created.effective_at + 60}
    found = organization.audit_logs.list(effective_at=since, resource_ids=[service.api_key.id])
    assert created.id in [log.id for log in found]

    assert organization.projects.archive(project.id).status == "archived"
    assert project.id not in [one.id for one in organization.projects.list()]
    assert project.id in [one.id for one in organization.projects.list(include_archived=True)]
    cost = sum(round(result.amount.value * 1_000_000) for result in results)
    used_in_all = {"prompt": asked + embedded.usage.prompt_tokens, "completion": generated, "cost": cost}
    print(json.dumps(used_in_all))


# Lists


def lists_are_read_to_their_end():
    organization = admin()
    me = list(organization.users.list())
    assert [(user.name, user.role) for user in me if user.role == "owner"] == [("root", "owner")]
    projects = [organization.projects.create(name=f"project {number}").id for number in range(5)]
    assert {one.id for one in whole(organization.projects.list(limit=2), 2)} >= set(projects)
    users = whole(organization.users.list(limit=2), 2)
    for user in users:
        assert organization.users.retrieve(user.id) == user
    place = organization.projects.users
    for user in users:
        place.create(projects[0], user_id=user.id, role="owner")
    assert {one.id for one in whole(place.list(projects[0], limit=2), 2)} == {user.id for user in users}
    other = next(user for user in users if user.role == "reader")
    assert place.update(other.id, project_id=projects[0], role="member").role == "member"
    assert place.retrieve(other.id, project_id=projects[0]).role == "member"
    assert place.delete(other.id, project_id=projects[0]).deleted

    services = organization.projects.service_accounts
    for number in range(5):
        services.create(projects[0], name=f"service {number}")
    accounts = whole(services.list(projects[0], limit=2), 2)
    assert services.retrieve(accounts[0].id, project_id=projects[0]) == accounts[0]
    assert services.delete(accounts[0].id, project_id=projects[0]).deleted
    keys = whole(organization.projects.api_keys.list(projects[0], limit=2), 2)
    assert len(keys) == 4, "those of the deleted one are gone"
    assert organization.projects.api_keys.retrieve(keys[0].id, project_id=projects[0]) == keys[0]
    bare = services.create(projects[0], name="bare", create_service_account_only=True)
    assert (bare.role, bare.api_key) == ("none", None)
    assert services.update(bare.id, project_id=projects[0], role="owner").role == "owner"
    manages = place.create(projects[0], user_id=other.id, role="admin")
    assert manages.role == "owner", "OpenAI has no admins of projects"
    assert place.delete(other.id, project_id=projects[0]).deleted

    for number in range(5):
        organization.invites.create(email=f"{number}@example.org", role="reader")
    grants = [{"id": one, "role": role} for one, role in zip(sorted(projects[:2]), ("member", "owner"))]
    invite = organization.invites.create(email="grace@example.org", role="owner", projects=grants)
    assert (invite.status, [one.to_dict() for one in invite.projects]) == ("pending", grants)
    assert organization.invites.retrieve(invite.id).email == "grace@example.org"
    assert organization.invites.delete(invite.id).deleted
    invites = whole(organization.invites.list(limit=2), 2)
    assert invite.id not in [one.id for one in invites]

    for number in range(3):
        organization.admin_api_keys.create(name=f"admin {number}")
    made = organization.admin_api_keys.create(name="mine", expires_in_seconds=60)
    keys = whole(organization.admin_api_keys.list(limit=2), 2)
    assert made.id in [key.id for key in keys]
    assert list(admin(made.value).users.list()), "it works at once"
    assert organization.admin_api_keys.retrieve(made.id).name == "mine"
    assert organization.admin_api_keys.delete(made.id).deleted
    is_out(lambda: list(admin(made.value).users.list()))

    events = organization.audit_logs
    logs = whole(events.list(limit=10), 10)
    assert [log.id for log in logs] == sorted((log.id for log in logs), reverse=True), "the newest first"
    before = events.list(limit=2, before=logs[5].id)
    assert [log.id for log in before.data] == [log.id for log in logs[3:5]]
    for kind in {log.type for log in logs}:
        found = [log.id for log in events.list(event_types=[kind], limit=10)]
        assert found == [log.id for log in logs if log.type == kind], f"{kind}, and nothing else"
        assert all(kind in log.to_dict() for log in logs if log.type == kind), f"what is told of {kind}"

    assert organization.users.update(other.id, role="owner").role == "owner"
    assert organization.users.delete(other.id).deleted
    fails(openai.NotFoundError, lambda: organization.users.retrieve(other.id))


# Refused


def refused_nobody_else_administers():
    for key, kind in ((os.environ["GATE_KEY"], openai.PermissionDeniedError), ("wrong", openai.AuthenticationError)):
        fails(kind, lambda key=key: admin(key).projects.list())
        fails(kind, lambda key=key: admin(key).projects.create(name="mine"))


def refused_what_is_not_there_is_not_found():
    organization = admin()
    nothing = "01890a5d-ac96-774b-bcce-b302099a8057"
    fails(openai.NotFoundError, lambda: organization.projects.retrieve(nothing))
    fails(openai.NotFoundError, lambda: organization.users.retrieve("user_abc"))
    fails(openai.NotFoundError, lambda: organization.projects.service_accounts.create(nothing, name="ci"))
    fails(openai.NotFoundError, lambda: organization.certificates.list())


def refused_a_field_at_fault_is_named():
    organization = admin()
    for call, param in (
        (lambda: organization.projects.create(name=""), "name"),
        (lambda: organization.projects.create(name="a", geography="EU"), "geography"),
        (lambda: organization.users.list(limit=0), "limit"),
        (lambda: organization.usage.completions(start_time=5, end_time=4), "end_time"),
        (lambda: organization.audit_logs.list(event_types=["certificate.invented"]), "event_types"),
    ):
        error = fails(openai.BadRequestError, call)
        assert error.param == param, error.body


def refused_a_project_has_its_limits():
    organization = admin()
    project = organization.projects.create(name="research").id
    service = organization.projects.service_accounts.create(project, name="ci")
    organization.projects.rate_limits.update_rate_limit(
        f"rl-{MODEL}", project_id=project, max_requests_per_1_minute=0
    )
    client = calling(service.api_key.value)
    error = fails(openai.RateLimitError, lambda: client.chat.completions.create(model=MODEL, messages=MESSAGES))
    assert error.code == "insufficient_quota", error.body


def refused_a_revoked_key_gets_no_call_at_once_and_anywhere():
    organization = admin()
    project = organization.projects.create(name="research").id
    service = organization.projects.service_accounts.create(project, name="ci")
    client = calling(service.api_key.value)
    gateways = range(int(os.environ["GATEWAYS"]))
    # So that each of them remembers the key.
    for _ in gateways:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    organization.projects.api_keys.delete(service.api_key.id, project_id=project)
    for _ in gateways:
        fails(openai.AuthenticationError, lambda: client.chat.completions.create(model=MODEL, messages=MESSAGES))


def refused_the_last_admin_stays_and_nothing_is_tried_again():
    organization, sent = counting()
    root = next(user for user in organization.users.list() if user.role == "owner")
    for call in (lambda: organization.users.update(root.id, role="reader"), lambda: organization.users.delete(root.id)):
        sent.clear()
        fails(openai.ConflictError, call)
        assert len(sent) == 1, "a conflict is final"


def main(what):
    rules = [rule for name, rule in globals().items() if name.startswith(f"{what}_")]
    assert rules, what
    for rule in rules:
        print(f"openai {openai.__version__}: {rule.__name__}", flush=True)
        rule()


if __name__ == "__main__":
    main(sys.argv[1])
