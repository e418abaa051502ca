"""authenticate, the config file, and organizations by key and by name."""

import configparser
import json
import os
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import pytest

import making
import mapillary_tools as mt
import service
from conftest import EXECUTABLE, ROOT, Ran, in_process, run, tree
from service import CLIENT_TOKEN, EMAIL, PASSWORD, TOKEN, Service

CLOSED = "http://127.0.0.1:9"
BY_MAIL = ("--user_email", EMAIL, "--user_password", PASSWORD)
BY_TOKEN = ("--user_access_token", TOKEN)
SECRETS = (TOKEN, CLIENT_TOKEN, PASSWORD)


@pytest.fixture
def server(monkeypatch: Any) -> Iterator[Service]:
    """A service, with the environment leading to it and no client token."""
    with Service() as running:
        for name, value in running.environment().items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("MAPILLARY_CLIENT_TOKEN")
        yield running


@pytest.fixture
def client(monkeypatch: Any) -> None:
    monkeypatch.setenv("MAPILLARY_CLIENT_TOKEN", CLIENT_TOKEN)


@pytest.fixture
def config(own_home: Path) -> Path:
    return own_home / "config"


def log_in(*more: Any) -> Ran:
    return run("authenticate", "--user_name", "demo", *more)


def stored(path: Path) -> Dict[str, Dict[str, str]]:
    """The config file as another reader of ini files has it."""
    parser = configparser.RawConfigParser()
    parser.optionxform = str  # type: ignore
    parser.read_string(path.read_text("utf-8"))
    return {name: dict(parser[name]) for name in parser.sections()}


def write(path: Path, **sections: Dict[str, str]) -> None:
    path.write_text(
        "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in rows.items()) + "\n"
            for name, rows in sections.items()
        ),
        "utf-8",
    )


def test_what_two_runs_store_at_once_is_kept_of_both(config: Path, monkeypatch: Any) -> None:
    """Each read the whole, changed its part of it, and wrote the whole: the last one won."""
    order: List[str] = []
    write_config = mt.write_config

    def slowly(sections: Dict[str, Dict[str, str]], path: Optional[str] = None) -> None:
        order.append("begins")
        time.sleep(0.3)
        write_config(sections, path)
        order.append("ends")

    monkeypatch.setattr(mt, "write_config", slowly)
    runs = [mt.Configuration(str(config)) for _ in range(3)]
    assert [one.accounts for one in runs] == [{}, {}, {}]
    keepers = [
        threading.Thread(target=one.keep, args=(f"user{number}", {mt.USER_TOKEN: "t"}))
        for number, one in enumerate(runs)
    ]
    for keeper in keepers:
        keeper.start()
    for keeper in keepers:
        keeper.join()
    assert sorted(stored(config)) == ["user0", "user1", "user2"]
    assert order == ["begins", "ends"] * 3


@in_process
def test_configuration_that_another_run_holds_is_one_line(config: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(mt, "CONFIG_WAIT_S", 0.2)
    write(config, demo={mt.USER_TOKEN: "t"})
    before = config.read_bytes()
    with mt.only_one(str(config) + ".lock", 0.0):
        ran = log_in("--delete")
    assert ran.code == 75 and "config.lock: is held by another run (try again later)" in ran.stderr
    assert config.read_bytes() == before


class Asked:
    """Someone at a terminal, who answers by the first word of ours that the question holds."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.questions, self.secret = answers, [], []  # type: ignore

    def __call__(self, question: str, secret: bool) -> str:
        self.questions.append(question)
        if secret:
            self.secret.append(question)
        return next(
            answer for word, answer in self.answers.items() if word.lower() in question.lower()
        )


def asked(who: Asked, **fields: Any) -> Any:
    import mapillary_tools as mt

    return mt.authenticate(mt.Login(**fields), mt.Ui(ask=who))


# ---- by token and by password ----------------------------------------------------------------------------------------


def test_token_is_stored_with_the_name_and_key_of_its_user(server, config):
    assert log_in(*BY_TOKEN).code == 0
    assert stored(config) == {
        "demo": {
            "MAPSettingsUsername": "demo",
            "MAPSettingsUserKey": "1001",
            "user_upload_token": TOKEN,
        }
    }


def test_login_by_token_asks_the_service_who_it_is_and_nothing_else(server):
    log_in(*BY_TOKEN)
    assert [(request.method, request.path) for request in server.log] == [("GET", "/graph/me")]


def test_token_of_the_environment_is_stored(server, config, monkeypatch):
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", TOKEN)
    assert log_in().code == 0 and stored(config)["demo"]["user_upload_token"] == TOKEN


def test_token_given_goes_before_that_of_the_environment(server, config, monkeypatch):
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", "another")
    assert log_in(*BY_TOKEN).code == 0 and stored(config)["demo"]["user_upload_token"] == TOKEN


def test_token_that_the_service_does_not_know_ends_in_9_and_stores_nothing(server, config):
    ran = log_in("--user_access_token", "wrong")
    assert ran.code == 9 and "Invalid OAuth access token" in ran.stderr and not config.exists()


def test_email_and_password_give_a_token(server, client, config):
    assert log_in(*BY_MAIL).code == 0
    assert stored(config)["demo"]["user_upload_token"] == TOKEN


def test_login_sends_the_client_token_and_a_locale(server, client):
    log_in(*BY_MAIL)
    (request,) = server.requests("POST", "/graph/login")
    assert request.headers["authorization"] == "OAuth " + CLIENT_TOKEN
    assert request.json == {"email": EMAIL, "password": PASSWORD, "locale": "en_US"}


def test_password_is_not_stored(server, client, config):
    log_in(*BY_MAIL)
    assert PASSWORD not in config.read_text("utf-8")


def test_wrong_password_is_said_as_the_service_says_it(server, client, config):
    ran = log_in("--user_email", EMAIL, "--user_password", "wrong")
    assert (
        ran.code == 9
        and "The password that you have entered is incorrect." in ran.stderr
        and not config.exists()
    )


def test_wrong_client_token_is_named_as_a_cause(server, monkeypatch):
    monkeypatch.setenv("MAPILLARY_CLIENT_TOKEN", "MLY|wrong")
    ran = log_in(*BY_MAIL)
    assert ran.code == 9 and "client token" in ran.stderr


def test_failed_login_leaves_the_stored_credentials(server, client, config):
    log_in(*BY_TOKEN)
    before = config.read_bytes()
    assert log_in("--user_email", EMAIL, "--user_password", "wrong", "--force_overwrite").code == 9
    assert config.read_bytes() == before


def test_service_that_is_not_there_is_said_and_does_not_hang(config, monkeypatch):
    monkeypatch.setenv("MAPILLARY_GRAPH_API_ENDPOINT", CLOSED)
    ran = log_in(*BY_TOKEN)
    assert ran.code in (8, 9) and "Traceback" not in ran.stderr and not config.exists()


@pytest.mark.slow
def test_page_of_a_hotel_is_no_login(server, config):
    server.faults.append(service.html(times=None))
    assert log_in(*BY_TOKEN).code in (8, 9) and not config.exists()


def test_login_without_a_token_in_the_answer_stores_nothing(server, client, config):
    server.faults.append(service.status(200, {"user_id": "1001"}, method="POST", times=None))
    ran = log_in(*BY_MAIL)
    assert ran.code in (8, 9) and "Traceback" not in ran.stderr and not config.exists()


def test_account_is_printed_as_json_without_its_token(server):
    ran = log_in(*BY_TOKEN, "--json")
    row = json.loads(ran.stdout)
    assert (row["tool"], row["exit_code"], row["user_name"]) == (
        "authenticate",
        0,
        "demo",
    ) and TOKEN not in ran.stdout


def test_upload_uses_what_authenticate_stored(server, tmp_path):
    making.drive(tmp_path / "drive", 2)
    log_in(*BY_TOKEN)
    assert (
        run("process_and_upload", "--import_path", tmp_path / "drive", "--user_name", "demo").code
        == 0
    )
    assert len(server.finished) == 1 and server.problems == []


# ---- questions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, said",
    [
        ((), "--user_name"),
        (("--user_name", "demo"), "--user_access_token"),
        (("--user_name", "demo", "--user_email", EMAIL), "--user_password"),
        (("--user_name", "demo") + BY_MAIL, "MAPILLARY_CLIENT_TOKEN"),
    ],
)
def test_without_a_terminal_nothing_is_asked_and_the_option_is_named(options, said, server, config):
    ran = run("authenticate", *options)
    assert ran.code == 2 and said in ran.stderr and not config.exists() and server.log == []


@in_process
def test_what_is_missing_is_asked_for_and_only_the_password_is_hidden(server, config):
    who = Asked(user="demo", mail=EMAIL, password=PASSWORD, client=CLIENT_TOKEN)
    asked(who)
    assert stored(config)["demo"]["user_upload_token"] == TOKEN
    assert (len(who.questions), who.secret) == (4, ["Password"])


@in_process
def test_client_token_is_asked_for_with_where_to_get_one(server):
    who = Asked(mail=EMAIL, password=PASSWORD, client=CLIENT_TOKEN)
    asked(who, user_name="demo")
    assert "developer page" in next(
        question for question in who.questions if "lient token" in question
    )


@in_process
def test_client_token_is_asked_for_once(server, config, monkeypatch):
    asked(Asked(mail=EMAIL, password=PASSWORD, client=CLIENT_TOKEN), user_name="demo")
    who = Asked(mail=EMAIL, password=PASSWORD)
    monkeypatch.setitem(service.USER, "username", "other")
    asked(who, user_name="other")
    assert (
        stored(config)["demo"]["MAPILLARY_CLIENT_TOKEN"] == CLIENT_TOKEN and len(who.questions) == 2
    )


@in_process
def test_client_token_of_the_environment_goes_before_the_stored_one(server, client, config):
    write(config, other={"MAPILLARY_CLIENT_TOKEN": "MLY|stored|one"})
    asked(Asked(mail=EMAIL, password=PASSWORD), user_name="demo")
    assert server.requests("POST")[0].headers["authorization"] == "OAuth " + CLIENT_TOKEN


@in_process
def test_password_keeps_its_blanks(server, client, monkeypatch):
    monkeypatch.setattr(service, "PASSWORD", " blank at both ends ")
    assert (
        asked(Asked(mail=EMAIL, password=" blank at both ends "), user_name="demo").exit_code == 0
    )


@pytest.mark.skipif(bool(EXECUTABLE) or os.name != "posix", reason="needs a terminal of its own")
def test_password_is_not_echoed_on_a_terminal(server, config):
    import pty
    import select

    pid, terminal = pty.fork()
    if not pid:
        os.execv(
            sys.executable,
            [
                sys.executable,
                "-I",
                "-S",
                str(ROOT / "mapillary_tools.py"),
                "authenticate",
                "--user_name",
                "demo",
            ],
        )
    shown = ""
    answers = [("mail", EMAIL), ("Password", PASSWORD), ("lient token", CLIENT_TOKEN)]
    try:
        while select.select([terminal], [], [], 20)[0]:
            shown += os.read(terminal, 4096).decode()
            if answers and answers[0][0] in shown and shown.rstrip(" ").endswith(":"):
                os.write(terminal, (answers.pop(0)[1] + "\n").encode())
    except OSError:  # the other end has closed
        pass
    status = os.waitpid(pid, 0)[1]
    os.close(terminal)
    assert status == 0 and EMAIL in shown and PASSWORD not in shown, shown


# ---- what is stored already ------------------------------------------------------------------------------------------


def test_stored_credentials_are_not_replaced_unasked(server, config):
    write(config, demo={"user_upload_token": "old"})
    before = config.read_bytes()
    ran = log_in(*BY_TOKEN)
    assert (
        ran.code == 2
        and "--force_overwrite" in ran.stderr
        and (config.read_bytes(), server.log) == (before, [])
    )


def test_force_overwrite_replaces_stored_credentials(server, config):
    write(config, demo={"user_upload_token": "old"})
    assert (
        log_in(*BY_TOKEN, "--force_overwrite").code == 0
        and stored(config)["demo"]["user_upload_token"] == TOKEN
    )


@in_process
@pytest.mark.parametrize("answer, token", [("y", TOKEN), ("Yes", TOKEN), ("n", "old"), ("", "old")])
def test_on_a_terminal_overwriting_is_asked(answer, token, server, config):
    import mapillary_tools as mt

    write(config, demo={"user_upload_token": "old"})
    try:
        asked(Asked(replace=answer), user_name="demo", user_access_token=TOKEN)
    except mt.UsageError:
        assert token == "old"
    assert stored(config)["demo"]["user_upload_token"] == token


def test_section_without_a_token_is_filled_in_unasked(server, config):
    write(config, demo={"MAPOrganizationKey": "2002"})
    assert log_in(*BY_TOKEN).code == 0
    assert (
        stored(config)["demo"]["MAPOrganizationKey"] == "2002"
        and stored(config)["demo"]["user_upload_token"] == TOKEN
    )


def test_other_sections_are_kept(server, config):
    others = {
        "Émile": {"user_upload_token": "a%b=c;d#e", "MixedCase": "x : y"},
        "organizations": {"city": "2002"},
        "MAPAdmin": {"MAPILLARY_SECRET_HASH": "s"},
    }
    write(config, **others)
    log_in(*BY_TOKEN)
    found = stored(config)
    assert {name: found[name] for name in others} == others


def test_value_over_several_lines_in_another_section_is_kept(server, config):
    config.write_text("[other]\nnote = one\n  two\nkey = 5\n", "utf-8")
    log_in(*BY_TOKEN)
    assert stored(config)["other"] == {"note": "one\ntwo", "key": "5"}


# ---- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_config_file_is_readable_by_its_owner_only(server, config):
    log_in(*BY_TOKEN)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_config_file_that_others_could_read_becomes_private(server, config):
    write(config, other={"a": "b"})
    config.chmod(0o644)
    log_in(*BY_TOKEN)
    assert stat.S_IMODE(config.stat().st_mode) == 0o600


@in_process
@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_config_file_is_private_from_its_first_byte(server, config, monkeypatch):
    import mapillary_tools as mt

    modes: List[int] = []
    write_all = mt.write_all

    def look(stream: Any, chunk: bytes) -> None:
        modes.append(stat.S_IMODE(os.fstat(stream.fileno()).st_mode))
        write_all(stream, chunk)

    monkeypatch.setattr(mt, "write_all", look)
    before = os.umask(0)
    try:
        log_in(*BY_TOKEN)
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_config_file_given_is_used_and_its_folder_made(server, config, tmp_path):
    path = tmp_path / "new folder" / "my config"
    assert log_in(*BY_TOKEN, "--config_file", path).code == 0
    assert stored(path)["demo"]["user_upload_token"] == TOKEN and not config.exists()


def test_home_is_where_the_config_file_is_otherwise(server, own_home, monkeypatch):
    monkeypatch.delenv("MAPILLARY_CONFIG_PATH")
    assert log_in(*BY_TOKEN).code == 0
    assert TOKEN in (own_home / ".config" / "mapillary" / "config").read_text("utf-8")


def test_config_path_of_the_environment_goes_before_the_home(
    server, own_home, monkeypatch, tmp_path
):
    monkeypatch.setenv("MAPILLARY_CONFIG_PATH", str(tmp_path / "elsewhere"))
    log_in(*BY_TOKEN)
    assert (tmp_path / "elsewhere").exists() and not (own_home / ".config").exists()


def test_where_credentials_are_stored_is_said(server, config):
    ran = log_in(*BY_TOKEN)
    assert str(config) in ran.stdout + ran.stderr


@pytest.mark.parametrize(
    "content", [b"no section\n", b"[demo\nx = 1\n", b"\xff\xfe\x00[", b"[demo]\nalone\n"]
)
def test_broken_config_file_is_named_and_left_as_it_is(content, server, config):
    config.write_bytes(content)
    ran = log_in(*BY_TOKEN)
    assert (
        ran.code == 2
        and str(config) in ran.stderr
        and "Traceback" not in ran.stderr
        and config.read_bytes() == content
    )


def test_config_file_with_a_bom_is_read(server, config):
    config.write_bytes(b"\xef\xbb\xbf[demo]\r\nuser_upload_token = old\r\n")
    assert log_in(*BY_TOKEN).code == 2


def test_folder_in_place_of_the_config_file_is_an_error_with_its_name(server, config):
    config.mkdir()
    ran = log_in(*BY_TOKEN)
    assert ran.code in (2, 11) and str(config) in ran.stderr and "Traceback" not in ran.stderr


@pytest.mark.parametrize("name", ["organizations", "MAPAdmin", "DEFAULT", "a]b", "a\nb", " ", ""])
def test_name_that_cannot_be_a_section_is_refused(name, server, config):
    ran = run("authenticate", "--user_name", name, *BY_TOKEN)
    assert ran.code == 2 and not config.exists()


@pytest.mark.parametrize("name", ["Zoë", "a b", "50%", "user@example", "#1", "default"])
def test_any_other_name_can_log_in_and_is_found_again(name, server, config, monkeypatch):
    monkeypatch.setitem(service.USER, "username", name)
    assert run("authenticate", "--user_name", name, *BY_TOKEN).code == 0
    assert run("authenticate", "--user_name", name, *BY_TOKEN).code == 2 and name in stored(config)


# ---- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pasted", [f" {TOKEN}", f"{TOKEN} ", f"{TOKEN}\n", f"\t{TOKEN}\r\n"])
@pytest.mark.parametrize("by", ["option", "environment"])
def test_blanks_around_a_pasted_token_are_no_part_of_it(by, pasted, server, config, monkeypatch):
    if by == "environment":
        monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", pasted)
    ran = log_in(*(["--user_access_token", pasted] if by == "option" else []))
    assert ran.code == 0 and stored(config)["demo"]["user_upload_token"] == TOKEN, ran.stderr


@pytest.mark.parametrize(
    "pasted", [f"“{TOKEN}”", "tok\nen", "tok en", "tok\u00a0en", "ключ", "tok\r\nHost: evil"]
)
@pytest.mark.parametrize("by", ["option", "environment"])
def test_token_with_characters_that_no_token_has_is_refused_unsent(
    by, pasted, server, config, monkeypatch
):
    if by == "environment":
        monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", pasted)
    ran = log_in(*(["--user_access_token", pasted] if by == "option" else []))
    assert ran.code in (2, 9) and "Traceback" not in ran.stderr and "token" in ran.stderr
    assert server.log == [] and not config.exists() and pasted not in ran.stderr


@pytest.mark.parametrize("pasted", [f"“{CLIENT_TOKEN}”", "MLY|1\n|2"])
def test_client_token_with_characters_that_no_token_has_is_refused_unsent(
    pasted, server, config, monkeypatch
):
    monkeypatch.setenv("MAPILLARY_CLIENT_TOKEN", pasted)
    ran = log_in(*BY_MAIL)
    assert (
        ran.code in (2, 9)
        and "client token" in ran.stderr.lower()
        and server.log == []
        and not config.exists()
    )


@pytest.mark.parametrize("more", [BY_TOKEN, BY_MAIL, BY_TOKEN + ("--json",), BY_MAIL + ("--json",)])
@pytest.mark.parametrize("code", [None, 400, 401])
def test_secrets_are_in_no_output_even_if_the_service_repeats_them(code, more, server, client):
    if code:
        server.faults.append(
            service.status(code, {"error": {"message": f"no: {TOKEN}"}}, method="GET")
        )
        server.faults.append(
            service.status(
                code, {"error": {"message": f"no: {CLIENT_TOKEN} {PASSWORD}"}}, method="POST"
            )
        )
    ran = log_in(*more)
    assert not [secret for secret in SECRETS if secret in ran.stdout + ran.stderr], ran


def test_help_warns_that_a_password_on_the_command_line_can_be_seen():
    words = " ".join(run("authenticate", "--advanced", "-h").stdout.split())
    assert "others on this computer can see it" in words


def test_journal_and_logs_of_a_run_hold_no_secret(server, client, tmp_path):
    making.drive(tmp_path / "drive", 2)
    log_in(*BY_MAIL)
    run(
        "process_and_upload",
        "--import_path",
        tmp_path / "drive",
        "--user_name",
        "demo",
        "--verbose",
    )
    assert not [
        name
        for name, content in tree(tmp_path / "drive").items()
        for secret in SECRETS
        if secret.encode() in content
    ]


# ---- organizations ---------------------------------------------------------------------------------------------------


def process(folder: Path, *more: Any) -> Ran:
    return run("process", "--import_path", folder, "--user_name", "demo", *more)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return making.photo(tmp_path / "card" / "a.jpg", lat=1.0, lon=2.0)


def organization(photo: Path) -> Optional[str]:
    return making.description(photo).get("MAPOrganizationKey")


def test_organization_by_key_is_described(photo):
    assert (
        process(photo.parent, "--organization_key", "2002").code == 0
        and organization(photo) == "2002"
    )


def test_organization_by_key_alone_stores_nothing(photo, config):
    process(photo.parent, "--organization_key", "2002")
    assert not config.exists()


def test_organization_named_once_with_its_key_is_then_found_by_name(photo, config):
    process(photo.parent, "--organization_key", "2002", "--organization_username", "City")
    making.photo(photo.parent / "b.jpg", lat=1.0, lon=2.0)
    assert process(photo.parent, "--organization_username", "City", "--rerun").code == 0
    assert organization(photo.parent / "b.jpg") == "2002" and stored(config) == {
        "organizations": {"City": "2002"}
    }


def test_key_given_with_a_name_replaces_the_stored_one(photo, config):
    write(config, organizations={"city": "1", "club": "7"}, demo={"user_upload_token": "t"})
    process(photo.parent, "--organization_key", "2002", "--organization_username", "city")
    assert stored(config) == {
        "organizations": {"city": "2002", "club": "7"},
        "demo": {"user_upload_token": "t"},
    }
    assert organization(photo) == "2002"


def test_unknown_organization_ends_in_2_and_says_to_give_its_key(photo):
    before = photo.read_bytes()
    ran = process(photo.parent, "--organization_username", "nobody")
    assert (
        ran.code == 2
        and "nobody" in ran.stderr
        and "--organization_key" in ran.stderr
        and photo.read_bytes() == before
    )


@pytest.mark.parametrize("name", ["a=b", "a:b", "#a", "a\nb", "[a]"])
def test_organization_of_an_odd_name_is_found_again_or_refused(name, photo, config):
    write(config, demo={"user_upload_token": "t"})
    before = config.read_bytes()
    first = process(photo.parent, "--organization_key", "2002", "--organization_username", name)
    again = process(photo.parent, "--organization_username", name, "--rerun")
    assert (first.code, again.code) in ((0, 0), (2, 2)) and (
        first.code == 0 or config.read_bytes() == before
    )


@pytest.mark.parametrize(
    "options, private",
    [(("--organization_key", "2002", "--private"), True), (("--organization_key", "2002"), None)],
)
def test_privacy_is_described_when_asked_for(options, private, photo):
    assert (
        process(photo.parent, *options).code == 0
        and making.description(photo).get("MAPPrivate") is private
    )


@pytest.mark.parametrize("tool", ["process", "extract_user_data"])
def test_private_without_an_organization_ends_in_2(tool, photo):
    before = tree(photo.parent)
    ran = run(tool, "--import_path", photo.parent, "--user_name", "demo", "--private")
    assert ran.code == 2 and "--organization_key" in ran.stderr and tree(photo.parent) == before


def test_process_asks_no_service_about_an_organization(photo, server):
    process(photo.parent, "--organization_key", "2002")
    assert server.log == []


def test_upload_checks_the_organization_and_sends_its_key(photo, server):
    log_in(*BY_TOKEN)
    ran = run(
        "process_and_upload",
        "--import_path",
        photo.parent,
        "--user_name",
        "demo",
        "--organization_key",
        "2002",
    )
    assert ran.code == 0 and len(server.requests("GET", "/graph/2002$")) == 1
    assert server.requests("POST", "finish_upload")[0].json["organization_id"] in ("2002", 2002)


def test_organization_that_the_service_does_not_know_stops_the_upload(photo, server):
    log_in(*BY_TOKEN)
    ran = run(
        "process_and_upload",
        "--import_path",
        photo.parent,
        "--user_name",
        "demo",
        "--organization_key",
        "9999",
    )
    assert ran.code in (8, 9) and "9999" in ran.stderr and server.images() == {}


def test_process_without_credentials_says_what_upload_will_need(photo):
    ran = process(photo.parent)
    assert ran.code == 0 and "no stored credentials for demo" in ran.stdout
    assert "authenticate --user_name demo" in ran.stdout.splitlines()[-1]


def test_process_with_a_broken_config_file_goes_on_and_says_so(photo, config):
    config.write_bytes(b"no section\n")
    ran = process(photo.parent)
    assert ran.code == 0 and str(config) in ran.stderr
