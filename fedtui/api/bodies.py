"""Request bodies: their shape, checked before the core sees them (contract, HTTP).

Unknown fields are ignored; a blank text counts as absent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from fedtui.core.errors import WrongUsage
from fedtui.core.pki.x509 import PEM_LIMIT, pem_fingerprint
from fedtui.core.protocol.accept_server import AcceptRequest
from fedtui.core.protocol.heartbeats import Declared
from fedtui.core.runtime import bounded_json
from fedtui.core.runtime.bounded_json import Bounds, TooComplex
from fedtui.core.runtime.untrusted import is_storable

LONGEST_TEXT = 2048
MOST_ENDPOINTS = 100
MOST_SLUGS = 1000
BOUNDS = Bounds(levels=32, values=10_000, text=PEM_LIMIT, number=64)
"""What a body may hold (contract, HTTP). A resource's document is bounded by its bytes and levels alone."""
DOCUMENT_SCHEMA = {"description": "Any JSON but null.", "type": ["object", "array", "string", "number", "boolean"]}
"""What `PUT resources` takes."""


class InvalidBody(WrongUsage):
    """A body that does not validate; `fields` names each. `beyond_bounds`: it is deeper or longer than is taken."""

    code = "invalid_body"

    def __init__(self, fields: list[dict[str, str]], *, beyond_bounds: bool = False) -> None:
        named = "; ".join(f"{field['field']}: {field['message']}" for field in fields)
        super().__init__(f"The request does not validate. {named}", public=f"invalid request: {named}")
        self.fields = fields
        self.beyond_bounds = beyond_bounds


def _blank_is_absent(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


Text = Annotated[str, Field(max_length=LONGEST_TEXT)]
OptionalText = Annotated[Text | None, BeforeValidator(_blank_is_absent)]
Pem = Annotated[Annotated[str, Field(max_length=PEM_LIMIT)] | None, BeforeValidator(_blank_is_absent)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", str_strip_whitespace=True)

    @field_validator("*", mode="before")
    @classmethod
    def _keepable(cls, value: Any) -> Any:
        return is_storable(value)


class DeclaredBody(_Body):
    """What a remote says of itself; all of it optional."""

    endpoints: Annotated[list[dict[str, Any]] | None, Field(max_length=MOST_ENDPOINTS)] = None
    capabilities: dict[str, Any] | None = None
    extension_slugs: Annotated[list[Text] | None, Field(max_length=MOST_SLUGS)] = None
    platform_version: OptionalText = None
    data_residency: OptionalText = None
    operator_contact: OptionalText = None
    ca_bundle_pem: Pem = None
    sent_at: datetime | None = None


class AcceptBody(DeclaredBody):
    """`POST accept`."""

    contract_version: Annotated[int, Field(ge=-(2**31), lt=2**31), BeforeValidator(_blank_is_absent)]
    remote_instance_url: OptionalText = None
    acceptance_token: OptionalText = Field(default=None, repr=False)
    csr_pem: Pem = None

    def request(self) -> AcceptRequest:
        """The body as the core takes it."""
        return AcceptRequest(
            contract_version=self.contract_version,
            remote_instance_url=self.remote_instance_url,
            acceptance_token=self.acceptance_token,
            csr_pem=self.csr_pem,
            ca_bundle_pem=self.ca_bundle_pem,
            declared=declared(self),
        )


class HeartbeatBody(DeclaredBody):
    """`POST heartbeat`."""

    sync_cursor: dict[str, Any] | None = None


class SignedCertificate(_Body):
    """A certificate with what it chains by."""

    cert_pem: Annotated[str, Field(max_length=PEM_LIMIT)]
    ca_chain_pem: Annotated[str, Field(max_length=PEM_LIMIT)] = ""


class EnrollBody(_Body):
    """`POST enroll`."""

    certificate: SignedCertificate


class RenewBody(_Body):
    """`POST renew`."""

    csr_pem: Annotated[str, Field(min_length=1, max_length=PEM_LIMIT)]


def declared(body: DeclaredBody) -> Declared:
    """The part of a body that describes the remote."""
    sent_at = body.sent_at
    return Declared(
        endpoints=body.endpoints,
        capabilities=body.capabilities,
        extension_slugs=body.extension_slugs,
        sync_cursor=getattr(body, "sync_cursor", None),
        platform_version=body.platform_version,
        data_residency=body.data_residency,
        operator_contact=body.operator_contact,
        sent_at=sent_at.replace(tzinfo=UTC) if sent_at and sent_at.tzinfo is None else sent_at,
        declared_ca=pem_fingerprint(body.ca_bundle_pem) if body.ca_bundle_pem else None,
    )


Body = TypeVar("Body", bound=_Body)


def parse(model: type[Body], content: bytes) -> Body:
    """Read a JSON body within `BOUNDS`. Raises `InvalidBody` naming each field that does not validate."""
    try:
        return bounded_json.parse(content or b"{}", BOUNDS, model.model_validate_json)
    except TooComplex as error:
        raise InvalidBody([{"field": "body", "message": str(error)}], beyond_bounds=True) from None
    except ValidationError as error:
        # The input is left out of the message: it may hold a token.
        fields = [
            {"field": ".".join(str(part) for part in fault["loc"]) or "body", "message": _message(fault)}
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidBody(fields) from None


MESSAGES: Mapping[str, str] = {
    "missing": "it is required",
    "string_type": "it must be a string",
    "string_unicode": "it must be valid Unicode",
    "string_too_long": "it must not be longer than {max_length} characters",
    "string_too_short": "it must not be empty",
    "dict_type": "it must be an object",
    "model_type": "it must be an object",
    "list_type": "it must be a list",
    "too_long": "it must not have more than {max_length} items",
    "int_type": "it must be an integer",
    "int_from_float": "it must be an integer",
    "int_parsing": "it must be an integer",
    "int_parsing_size": "it must be an integer of fewer digits",
    "greater_than_equal": "it must be at least {ge}",
    "less_than": "it must be less than {lt}",
    "value_error": "{error}",
}
"""What is wrong with a field, by the type of fault: the validator's own words are another project's, and may change."""
_AT = re.compile(r"at line (\d+) column (\d+)$")


def _message(fault: Any) -> str:
    kind, context = str(fault["type"]), fault.get("ctx", {})
    if kind == "json_invalid":
        at = _AT.search(str(context.get("error", "")))
        return "it is not valid JSON" + (f" (line {at[1]}, column {at[2]})" if at else "")
    if kind.startswith(("datetime", "date", "timezone")):
        return "it must be a time as in RFC 3339, such as 2030-01-31T12:00:00Z"
    return MESSAGES.get(kind, "it is not valid").format_map(context)
