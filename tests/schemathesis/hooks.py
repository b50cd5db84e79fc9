"""What the document has no words for."""

import os

import schemathesis
from schemathesis.core import NOT_SET
from schemathesis.core.parameters import ParameterLocation


@schemathesis.hook
def map_case(context, case):
    """Some operations take their fields from the body or from the query, not from both: leaves one of them.

    What was made wrong on purpose stays.
    """
    if not case.query or case.body is NOT_SET or case.meta is None:
        return case
    wrong = [case.meta.is_negative_at(place) for place in (ParameterLocation.BODY, ParameterLocation.QUERY)]
    if case.meta.generation.mode.is_negative and any(wrong) == all(wrong):
        # Wrong in another way: refused for having both, which is as good.
        return case
    if wrong[0] or (not wrong[1] and len(str(case.query)) % 2):
        case.query = {}
    else:
        case.body = NOT_SET
        case.media_type = None
        # A body that is left out is none to be checked.
        case.meta.components.pop(ParameterLocation.BODY, None)
        case.meta.clear_dirty(ParameterLocation.BODY)
    return case


@schemathesis.check
def calls_have_a_declared_status(context, response, case):
    """Calls declare `default` for what a model server may say, which `status_code_conformance` takes for any status.

    The scripted one says nothing of the kind: what is answered here is declared by itself.
    """
    declared = case.operation.responses.status_codes
    # Another method on the path is another operation, or none.
    if "default" not in declared or case.method.upper() != case.operation.method.upper():
        return
    if str(response.status_code) not in declared:
        raise AssertionError(f"{response.status_code} is not declared but by `default`: {', '.join(declared)}")


@schemathesis.hook
def after_call(context, case, response):
    """Notes what was answered, so that the run can tell whether anything was let in."""
    with open(os.environ["ANSWERS"], "a", encoding="utf-8") as answers:
        answers.write(f"{case.operation.method.upper()} {case.operation.path} {response.status_code}\n")
