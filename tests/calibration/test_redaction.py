"""No password leaves by an address that is named, and what is named is still known again."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from calibration.errors import WardposeError
from calibration.redaction import encoded_address, host_of, redacted, restored, secrets_in

WORDS = st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)
HOSTS = st.one_of(
    st.builds("{}.{}.{}.{}".format, *(st.integers(0, 255) for _ in range(4))),
    st.builds("{}.{}".format, WORDS, WORDS),
    st.sampled_from(["localhost", "[::1]", "[fe80::1]"]),
    WORDS,
)
PORTS = st.one_of(st.just(""), st.integers(1, 65535).map(lambda number: f":{number}"))
PATHS = st.builds("/{}/{}".format, WORDS, WORDS)
# Whatever a person may have chosen, but line ends and the placeholder itself.
PASSWORDS = st.text(
    st.characters(min_codepoint=32, max_codepoint=0x17F, blacklist_characters="\x7f\x85"), min_size=4, max_size=24
).filter(lambda text: "***" not in text)
USERS = st.text(string.ascii_letters + string.digits + "-_. ", min_size=1, max_size=12).filter(str.strip)
KINDS = st.sampled_from(["", "video:"])


def is_named_in(secret: str, *pieces: str) -> bool:
    """Whether a secret is part of what must stay readable, so that no redaction could hide it."""
    return any(secret in piece for piece in pieces)


@given(kind=KINDS, user=USERS, password=PASSWORDS, host=HOSTS, port=PORTS, path=PATHS)
@example("video:", "admin", "s3cret", "127.0.0.1", ":1", "/a")
@example("video:", "admin", "s3cret/part2", "10.1.2.3", ":554", "/stream1")
@example("video:", "admin", "s3cret[1]", "127.0.0.1", ":1", "/a")
@example("", "admin", "p@ss#word/x?", "camera", "", "/stream/1")
@example("", "admin", "554/secret", "camera", "", "/stream/1")
def test_a_log_in_is_hidden_whatever_is_in_it_and_host_and_path_stay(
    kind: str, user: str, password: str, host: str, port: str, path: str
) -> None:
    spec = f"{kind}rtsp://{user}:{password}@{host}{port}{path}"
    assume(not is_named_in(password, f"{kind}rtsp://***@{host}{port}{path}"))
    shown = redacted(spec)
    assert password not in shown
    assert shown == f"{kind}rtsp://***@{host}{port}{path}"
    assert redacted(shown) == shown
    assert restored(shown, secrets_in(spec)) == spec


@given(
    kind=KINDS, host=HOSTS, port=PORTS, path=PATHS, password=PASSWORDS, user=USERS,
    form=st.sampled_from([
        "/user={user}&password={password}&channel=1&stream=0.sdp", "/user={user}_password={password}_channel=1_type=0",
        "{path}?usr={user}&pwd={password}", "{path}?channel=1&token={password}", "{path}?user={user}&pass={password}",
        "{path}?loginuse={user}&loginpas={password}&stream=1", "{path}?access_token={password}#allow_network=true",
        "{path}?u={user}&p={password}",
    ]),
)  # fmt: skip
@example(
    "video:", "127.0.0.1", ":1", "/a", "s3cret", "admin", "/user={user}&password={password}&channel=1&stream=0.sdp"
)
@example("", "camera", ":554", "/a", "p@ss:w/d", "admin", "/user={user}&password={password}&channel=1")
def test_a_password_in_a_query_is_hidden_and_host_and_path_stay(
    kind: str, host: str, port: str, path: str, password: str, user: str, form: str
) -> None:
    spec = f"{kind}rtsp://{host}{port}{form.format(path=path, user=user, password=password)}"
    shape = f"{kind}rtsp://{host}{port}{form.format(path=path, user='***', password='***')}"
    assume(not is_named_in(password, shape))
    shown = redacted(spec)
    assert password not in shown
    if "@" not in password:  # `host:1/path?…a:b@c` may be a log-in: then more is hidden
        assert shown.startswith(f"{kind}rtsp://{host}{port}")
        assert path in shown or "{path}" not in form
    assert redacted(shown) == shown
    assert restored(shown, secrets_in(spec)) == spec


@given(user=USERS, password=PASSWORDS, host=HOSTS, path=PATHS)
def test_no_error_names_a_password(user: str, password: str, host: str, path: str) -> None:
    spec = f"video:rtsp://{user}:{password}@{host}{path}"
    words = ("no camera answers there", "check that it is switched on")
    assume(not is_named_in(password, f"video:rtsp://***@{host}{path}: {words[0]}; {words[1]}"))
    assume(not is_named_in(" ".join(password.split()), f"video:rtsp://***@{host}{path}: {words[0]}; {words[1]}"))
    error = WardposeError(words[0], where=spec, mend=words[1])
    assert password not in str(error) and password not in error.where
    assert str(error) == f"video:rtsp://***@{host}{path}: {words[0]}; {words[1]}"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("can't open 'rtsp://u:pw12@h/x': refused", "can't open 'rtsp://***@h/x': refused"),
        ("[Errno 111] Connection refused: rtsp://u:pw12@h:554/x?token=abcd", None),
        ("DESCRIBE rtsp://h/user=u&password=pw12&channel=1 failed", None),
        ("Authorization: Basic cHcxMg==", "Authorization: ***"),
        ("the options were user=u password=pw12", "the options were user=u password=***"),
        ("video:admin:pw12@10.0.0.1/x", "video:***@10.0.0.1/x"),  # the scheme was forgotten
        ("RTSP://u:pw12@h/x", "RTSP://***@h/x"),
        ("rtsp://onlytoken1234@h/x", "rtsp://***@h/x"),
    ],
)
def test_a_sentence_that_quotes_an_address_loses_only_the_secret(said: str, shown: str | None) -> None:
    assert shown is None or redacted(said) == shown
    for secret in ("pw12", "abcd", "cHcxMg", "onlytoken1234"):
        assert secret not in redacted(said)


@pytest.mark.parametrize(
    "plain",
    [
        "simulated", "simulated:empty", "kinect#depth=false", "video:0", "video:/data/a:b@c/photos",
        "recording:/data/ward.mkv#loop=true&realtime=false", "rtsp://127.0.0.1:554/stream@2", "rtsp://[::1]:554/x",
        "video:rtsp://camera/stream1#allow_network=true", "write to root@localhost at 12:30", "",
        "give --key=value", "https://github.com/a/b@v1",
    ],
)  # fmt: skip
def test_what_holds_no_secret_stays_as_it_is(plain: str) -> None:
    assert redacted(plain) == plain
    assert secrets_in(plain) == ()


@given(user=USERS, password=PASSWORDS, host=HOSTS, path=PATHS)
def test_an_address_with_any_password_is_encoded_so_that_others_read_the_same_host(
    user: str, password: str, host: str, path: str
) -> None:
    from urllib.parse import unquote, urlsplit

    assume("%" not in password)
    address = f"rtsp://{user}:{password}@{host}{path}"
    assume(not is_named_in(password, f"rtsp://***@{host}{path}"))
    parts = urlsplit(encoded_address(address))
    assert unquote(parts.username or "") == user and unquote(parts.password or "") == password
    assert parts.hostname == host_of(address).lower() == host.strip("[]").lower()
    assert parts.path == path


@given(
    st.lists(st.sampled_from(["127.0.0.1", "localhost", "[::1]", "evil.org", "a", ":", "1", "@", "/", "?", "#", "\\"]))
)
@example(["127.0.0.1", ":", "1", "@", "evil.org", "/"])
@example(["a", ":", "a", "@", "127.0.0.1", ":", "1", "@", "evil.org"])
def test_the_host_that_is_checked_is_the_host_that_others_connect_to(pieces: list[str]) -> None:
    address = f"rtsp://{''.join(pieces)}"
    # As FFmpeg and RFC 3986 read it.
    authority = re.split(r"[/?#]", encoded_address(address).removeprefix("rtsp://").lstrip("/"), maxsplit=1)[0]
    server = authority.rpartition("@")[2]
    if bracketed := re.match(r"\[([^\]]*)\]", server):
        assert host_of(address) == bracketed[1]
    else:
        assert host_of(address) == server.partition(":")[0]


def test_what_a_person_encoded_already_is_not_encoded_twice() -> None:
    assert encoded_address("rtsp://a:p%2Fw%@h/x") == "rtsp://a:p%2Fw%25@h/x"


@pytest.mark.parametrize("piece", ["pass", "a", "@", "=", "password=", "://", "a://", ":", "[", "video:", "&u=", "@[1"])
def test_a_long_text_is_read_in_a_moment_whatever_it_repeats(piece: str) -> None:
    """The suite's time limit ends what takes a time that grows faster than the text."""
    for start in ("", "rtsp://", "rtsp://a:b@", "video:rtsp://h/"):
        redacted(start + piece * (200_000 // len(piece)))


def test_a_number_of_secrets_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="1 places for 2 secrets"):
        restored("rtsp://***@h/x", ("a", "b"))


@pytest.mark.parametrize("key", ["pwd", "token", "password"])
def test_what_an_error_says_behind_an_address_stays_however_often_it_is_redacted(key: str) -> None:
    """A message that begins with its address was taken for one address, and all of it for the password."""
    error = WardposeError("no camera answers there", where=f"rtsp://10.1.2.3/a?{key}=geheim 7", mend="plug it in")
    assert str(error) == f"rtsp://10.1.2.3/a?{key}=***: no camera answers there; plug it in"
    assert redacted(redacted(str(error))) == str(error)
