from pathlib import PurePath

from hypothesis import given
from hypothesis import strategies as st

from poolguard.settings.defaults import names_in, with_defaults
from poolguard.settings.model import Settings

anything = st.recursive(
    st.none() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["pools", "policies", "routes", "upstream", "auth", "pool", "policy", "listen", "clients", "tls"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(
        st.sampled_from(["pools", "policies", "routes", "upstream", "auth", "default_pool", "listen"]), anything
    )
)
def test_data_of_any_shape_is_left_for_the_model_to_refuse(data: dict[str, object]) -> None:
    whole = with_defaults(data, {}, PurePath("/etc"))
    assert set(data) <= set(whole)
    names_in(whole)


def test_a_relative_password_file_starts_at_the_folder() -> None:
    data: dict[str, object] = {
        "upstream": {"password_file": "pw"},
        "pools": {"a": {"upstream": {"password_file": "/pw"}}},
    }
    whole = with_defaults(data, {}, PurePath("/etc/poolguard"))
    assert whole["upstream"] == {"url": "", "password_file": "/etc/poolguard/pw"}
    assert whole["pools"] == {"a": {"upstream": {"url": "", "password_file": "/pw"}}}


def test_the_files_of_a_certificate_start_at_the_folder() -> None:
    tls = {"cert_file": "tls.crt", "key_file": "/run/tls.key", "required": True}
    whole = with_defaults({"listen": {"clients": {"tls": tls}}}, {}, PurePath("/etc/poolguard"))
    assert whole["listen"] == {
        "clients": {"tls": {"cert_file": "/etc/poolguard/tls.crt", "key_file": "/run/tls.key", "required": True}}
    }
    assert with_defaults({"listen": {"clients": {"tls": None}}}, {}, PurePath("/etc"))["listen"] == {
        "clients": {"tls": None}
    }


def test_names_in_refused_data_are_those_of_the_defaults_where_nothing_is_given() -> None:
    names = names_in({})
    assert (list(names.pools), list(names.policies)) == (list(Settings().pools), list(Settings().policies))
