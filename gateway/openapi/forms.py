"""The bodies of OAuth's calls, which come as a form or as JSON. Their fields are the RFCs' and stand in no proto."""

from typing import Any, Final

Schema = dict[str, Any]

_PROOF: Final[dict[str, Schema]] = {
    "client_id": {"type": "string", "description": "The client; not needed where HTTP Basic or an assertion names it."},
    "client_secret": {"type": "string", "description": "Its secret, unless it comes by HTTP Basic."},
    "client_assertion_type": {
        "type": "string",
        "const": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "description": "Says that an assertion takes the secret's place (RFC 7523).",
    },
    "client_assertion": {"type": "string", "description": "A JWT that the client has signed with a key of its own."},
}
_TOKEN: Final[dict[str, Schema]] = {
    "token": {"type": "string", "description": "The token that it is about."},
    "token_type_hint": {"type": "string", "description": "Ignored: there is one type of tokens."},
}


def _form(required: str, fields: dict[str, Schema]) -> Schema:
    # What the RFCs do not know is ignored, as they want.
    open_ = {"additionalProperties": {"type": "string"}}
    return {"type": "object", "required": [required], "properties": {**fields, **_PROOF}, **open_}


_ABOUT_A_TOKEN: Final = _form("token", _TOKEN)

# By the name of the RPC.
FORMS: Final[dict[str, Schema]] = {
    "IssueToken": _form(
        "grant_type",
        {
            "grant_type": {
                "type": "string",
                "const": "client_credentials",
                "description": "The one way to get a token.",
            },
            "scope": {
                "type": "string",
                "description": "Some of the client's scopes, separated by spaces; all of them if unset.",
                "examples": ["points:read points:write"],
            },
        },
    ),
    "RevokeToken": _ABOUT_A_TOKEN,
    "IntrospectToken": _ABOUT_A_TOKEN,
}
