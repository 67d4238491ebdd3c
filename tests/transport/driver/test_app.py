"""What Faust accepts and Redis Streams cannot do is refused where it is said."""

import asyncio
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import faust
import pytest
from faust.types.settings import Settings as FaustSettings

import faust_redis
from faust_redis import App, BatchSchema, Misconfigured, RedisOptions, Table
from faust_redis.driver.partitioning import partitions_of
from faust_redis.driver.settings import MOST_PARTITIONS, NO_USE, ONLY
from tests.conftest import PROJECT
from tests.support.waiting import eventually

README: Final = PROJECT / "faust_redis" / "README.md"
URL: Final = "redis://127.0.0.1:1"
#: Settings that work as Faust describes them, in the bounds that other tests state.
WORK: Final = {
    "Agent", "Event", "HttpClient", "Monitor", "PartitionAssignor", "Schema", "Serializers", "Stream", "Table",
    "TableManager", "Topic", "Worker", "agent_supervisor", "autodiscover", "blocking_timeout", "broker",
    "broker_commit_every", "broker_commit_interval", "cache", "canonical_url",
    "cython_optimizations", "debug", "id_format", "key_serializer", "logging_config", "loghandlers", "origin", "store",
    "stream_buffer_maxsize", "timezone", "topic_allow_declare", "topic_partitions", "value_serializer", "version",
    "web", "web_application_options", "web_bind", "web_cors_options", "web_enabled", "web_host", "web_in_thread",
    "web_port", "web_ssl_context", "web_transport", "worker_redirect_stdouts", "worker_redirect_stdouts_level",
}  # fmt: skip


def _app(**settings: Any) -> App:
    return App("a", **{"broker": URL, **settings})


def test_each_setting_of_faust_has_its_place() -> None:
    """A setting that a new Faust brings fails here until somebody decides whether it works."""
    assert set(FaustSettings.SETTINGS) == WORK | NO_USE.keys() | ONLY.keys()


def test_readme_names_what_is_refused() -> None:
    """The README lists the settings that are refused and those with one true value, no others."""
    text = README.read_text()
    listed = text[text.index("Settings that are refused") : text.index("## Environment")]
    refused, only = listed.split("Settings of which one value is true")
    options = {field.name for field in fields(RedisOptions)}
    assert set(re.findall(r"`(\w+)`", refused)) - options == NO_USE.keys()
    assert set(re.findall(r"`([a-z]+_\w+)`", only)) - {"at_least_once"} == ONLY.keys()


def test_readme_names_what_is_public() -> None:
    """The README's table has every public name, no others."""
    text = README.read_text()
    rows = text[text.index("| public name |") : text.index("## What you can rely on")]
    functions = {name for row in rows.splitlines() for name in re.findall(r"^\| `([a-z]\w+)`", row)}
    assert set(re.findall(r"`([A-Z]\w+)`", rows)) | functions == set(faust_redis.__all__)


async def test_readme_example_counts(redis_url: str, stream: str) -> None:
    """The README's application counts what is sent to it."""
    [source] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    scope: dict[str, Any] = {"__name__": "counter"}
    here = source.replace("redis://localhost:6379", redis_url).replace('"clicks"', f'"{stream}"')
    exec(compile(here, str(README), "exec"), scope)  # noqa: S102 - ours
    app, clicks, counts = scope["app"], scope["clicks"], scope["counts"]
    app.conf.web_enabled = False
    await app.start()
    try:
        for number in range(20):
            page = f"page{number % 2}"
            await clicks.send(key=page, key_serializer="raw", value=page, value_serializer="raw")
        await eventually(lambda: dict(counts.items()) == {"page0": 10, "page1": 10}, message="all are counted")
    finally:
        await app.stop()


@pytest.mark.parametrize("name", NO_USE)
def test_setting_without_use_is_refused(name: str) -> None:
    """A setting that could do nothing is refused by name, with the reason, when the application is made."""
    with pytest.raises(Misconfigured, match=rf"the setting {name} has no use on Redis Streams, since .*[^.]$"):
        _app(**{name: 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("processing_guarantee", "exactly_once"),
        ("consumer_auto_offset_reset", "latest"),
        ("stream_wait_empty", False),
        ("table_standby_replicas", 1),
        ("topic_disable_leader", False),
        ("topic_replication_factor", 3),
        *((name, True) for name in ONLY if name.startswith("web_")),
    ],
)
def test_only_value_that_is_true_is_accepted(name: str, value: object) -> None:
    """Of some settings one value alone describes Redis Streams; any other is refused by name."""
    _app(**{name: ONLY[name][0]})
    with pytest.raises(Misconfigured, match=f"the setting {name} must be "):
        _app(**{name: value})


@pytest.mark.parametrize("urls", ["redis://a;redis://b", ["redis://a", "redis://b"]])
def test_further_urls_are_refused(urls: object) -> None:
    """A second address would be dropped in silence."""
    with pytest.raises(Misconfigured, match="the setting broker has 2 URLs"):
        _app(broker=urls)


@pytest.mark.parametrize("url", ["kafka://a", "a:6379"])
def test_broker_that_is_not_redis_is_refused(url: str) -> None:
    """A URL of another kind would load another transport; without a scheme Faust takes it for Kafka."""
    with pytest.raises(Misconfigured, match=r"the setting broker begins with kafka://"):
        App("a", broker=url)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"store": "memory://"}, "the store of tables must be redis://"),
        ({"store": "redis://elsewhere"}, "the store of tables must be redis://"),
        ({"topic_partitions": 0}, "topic_partitions is 0"),
        ({"topic_partitions": MOST_PARTITIONS + 1}, f"topic_partitions is {MOST_PARTITIONS + 1}"),
        ({"Table": faust.Table}, "the setting Table must be"),
        ({"PartitionAssignor": "faust.assignor:PartitionAssignor"}, "the setting PartitionAssignor must be"),
        ({"redis_options": {"batch_size": 5}}, "redis_options must be faust_redis.RedisOptions"),
        ({"redis_options": RedisOptions(batch_size=0)}, r"RedisOptions\(batch_size\) is 0, but must be a number"),
        ({"redis_options": RedisOptions(lease_ttl_ms=-5)}, r"RedisOptions\(lease_ttl_ms\) is -5"),
        ({"redis_options": RedisOptions(block_ms="9")}, r"RedisOptions\(block_ms\) is '9'"),  # type: ignore[arg-type]
        ({"topic_partitons": 3}, "Faust has no setting named topic_partitons"),
        ({"processing_guarantee": "EXACTLY_ONCE"}, "processing_guarantee is 'EXACTLY_ONCE', which is no value of it"),
        ({"stream_wait_empty": "perhaps"}, "the setting stream_wait_empty is 'perhaps', which is no value of it"),
        ({"topic_partitions": "many"}, "the setting topic_partitions is 'many', which is no value of it"),
        ({"broker": ""}, "the setting broker is no URL that begins with redis://"),
        ({"broker": []}, "the setting broker is no URL that begins with redis://"),
    ],
)
def test_value_that_cannot_work_is_refused(settings: dict[str, Any], said: str) -> None:
    """Values out of bounds, stores elsewhere, classes of other transports, and misspelt names are refused."""
    with pytest.raises(Misconfigured, match=said):
        _app(**settings)


def test_settings_of_a_configuration_object_are_looked_at_too() -> None:
    """What comes from `config_from_object` is refused when it is read."""
    app = App("a", broker=URL)
    app.config_from_object(SimpleNamespace(processing_guarantee="exactly_once"))
    with pytest.raises(Misconfigured, match="the setting processing_guarantee must be at_least_once"):
        app.finalize()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("processing_guarantee", "exactly_once", "the setting processing_guarantee must be at_least_once"),
        ("broker", ["redis://a", "redis://b"], "the setting broker has 2 URLs"),
        ("store", "memory://", "the store of tables must be redis://"),
        ("topic_partitions", 0, "topic_partitions is 0"),
        ("datadir", "elsewhere", "the setting datadir has no use"),
    ],
)
def test_setting_that_is_set_later_is_looked_at_too(name: str, value: object, said: str) -> None:
    """A handler of Faust's signal may set what works, and is refused what does not."""
    app = App("a", broker=URL)

    @app.on_configured.connect(weak=False)
    def configure(_: App, conf: Any, **__: Any) -> None:
        conf.web_port = 7
        setattr(conf, name, value)

    with pytest.raises(Misconfigured, match=said):
        app.finalize()


async def _nothing(_: Any = None) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("declare", "said"),
    [
        (lambda app: app.topic(pattern="t.*"), "a topic cannot be a pattern"),
        (lambda app: app.topic("t", acks=False), "the topic t cannot have acks=False"),
        (lambda app: app.topic("t", partitions=1025), "the number of partitions of the topic t is 1025"),
        (lambda app: app.topic("t", partitions="4"), "the number of partitions of the topic t is '4'"),
        (lambda app: app.topic("t", schema=BatchSchema), r"needs an instance: BatchSchema\(\)"),
        (lambda app: app.topic("t", schema=BatchSchema(), value_type=int), "the topic t cannot have value_type"),
        (lambda app: app.topic("t", schema=BatchSchema(), key_type=str), "the topic t cannot have key_type"),
        (lambda app: app.topic("t", retention=60), "the topic t cannot have retention"),
        (lambda app: app.topic("t", compacting=True), "the topic t cannot have compacting"),
        (lambda app: app.topic("t", deleting=True), "the topic t cannot have deleting"),
        (lambda app: app.topic("t", replicas=2), "the topic t cannot have replicas"),
        (lambda app: app.topic("t", config={}), "the topic t cannot have config"),
        (lambda app: app.stream(app.topic("t")), "a stream reads the topic t, which needs schema="),
        (lambda app: app.stream(app.topic("t", schema=BatchSchema())).group_by(len), "cannot be grouped by a key"),
        (lambda app: app.Table("t", window=faust.TumblingWindow(1)), "the table t cannot have a window"),
        (lambda app: app.Table("t").tumbling(1), "the table t cannot have a window"),
        (lambda app: app.Table("t").hopping(2, 1), "the table t cannot have a window"),
        (lambda app: app.Table("t", store="memory://"), "the store of tables must be redis://"),
        (lambda app: app.Table("t", key_type=int), "the keys of table t must be strings"),
        (lambda app: app.Table("t", partitions=2), "the table t cannot have partitions of its own"),
        (lambda app: app.Table("t", options={"max_key": 3}), "the table t has no option max_key, only"),
        (lambda app: app.Table("t", options={"max_keys": 0}), "the option max_keys of the table t is 0"),
        (lambda app: app.Table("t", on_changelog_event=_nothing), "the table t cannot have on_changelog_event"),
        (lambda app: app.SetTable("t"), "the table t cannot be of sets"),
        (lambda app: app.GlobalTable("t"), "the table t cannot be global"),
        (lambda app: app.SetGlobalTable("t"), "the table t cannot be global"),
        (lambda app: app.task(on_leader=True), "on_leader cannot work"),
        (lambda app: app.timer(1, on_leader=True), "on_leader cannot work"),
        (lambda app: app.crontab("* * * * *", on_leader=True), "on_leader cannot work"),
        (lambda app: app.is_leader(), "have no leader"),
        (lambda app: app.table_route(app.Table("t")), "requests are not routed"),
        (lambda app: app.topic_route(app.topic("t")), "requests are not routed"),
    ],
)
def test_declaration_that_cannot_work_is_refused(declare: Callable[[App], object], said: str) -> None:
    """What an application declares and Redis Streams cannot do is refused in the line that declares it."""
    with pytest.raises(Misconfigured, match=said):
        declare(App("a", broker=URL))


def test_topic_has_one_number_of_partitions() -> None:
    """A topic that is declared twice with different numbers would be written where nobody reads."""
    app = App("a", broker=URL)
    app.topic("t", partitions=3)
    app.topic("t", partitions=3)
    with pytest.raises(Misconfigured, match="the topic t cannot have 4 partitions here and 3 elsewhere"):
        app.topic("t", partitions=4)


def test_agent_may_name_its_topic() -> None:
    """An agent's topic can be given by name, with a schema and a number of partitions of its own."""
    app = App("a", broker=URL)
    agent: Any = app.agent("t", schema=BatchSchema(), partitions=3)(_nothing)
    assert isinstance(agent.channel.schema, BatchSchema)
    assert partitions_of(app, "t") == 3


def test_public_names_are_there() -> None:
    """Every public name can be imported, and looking for another one is an ordinary error."""
    assert [name for name in faust_redis.__all__ if not hasattr(faust_redis, name)] == []
    assert not hasattr(faust_redis, "Nothing")


async def test_package_alone_needs_no_faust() -> None:
    """What only looks at dead letters or keys does not load Faust, which takes most of a second."""
    script = "import sys, faust_redis as f; f.DeadLetters, f.Misconfigured; print('faust' in sys.modules)"
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


async def test_agent_cannot_be_asked() -> None:
    """A question would be sent and its answer never come."""
    app = App("a", broker=URL)
    agent = app.agent(app.topic("t", schema=BatchSchema()))(_nothing)
    with pytest.raises(Misconfigured, match="agents cannot be asked"):
        await agent.ask(1)


def test_declarations_that_work_are_accepted() -> None:
    """Topics, tables, tasks and timers are declared as in any Faust application."""
    app = App("a", broker=URL, redis_options=RedisOptions(batch_size=7))
    topic = app.topic("t", partitions=4, schema=BatchSchema())
    assert topic.partitions == 4
    assert isinstance(app.Table("counts", default=int, value_type=int), Table)
    assert app.timer(1)(_nothing)
    assert app.crontab("* * * * *")(_nothing)
    assert app.task(_nothing)
    assert app.redis_options.batch_size == 7


async def test_agent_without_batch_schema_ends_the_start(redis_url: str, stream: str) -> None:
    """An application whose agent's topic has no batch schema does not start."""
    app = App("a", broker=redis_url, web_enabled=False)
    app.agent(app.topic(stream), name="reader")(_nothing)
    with pytest.raises(Misconfigured, match=f"the agent .*reader reads the topic {stream}, which needs schema="):
        await app.start()
    await app.stop()


async def test_plain_faust_application_is_refused() -> None:
    """An application of Faust's own class would have Faust's tables, and leaders, on streams."""
    app = faust.App("a", broker=URL)
    with pytest.raises(Misconfigured, match=r"the application a must be a faust_redis\.App"):
        app.topics  # noqa: B018 - making it needs the transport


MISTAKES: Final = {
    "setting": "app = faust_redis.App('a', processing_guarantee='exactly_once')",
    "brokers": "app = faust_redis.App('a', broker='redis://a;redis://b')",
    "later": "app = faust_redis.App('a')\n@app.on_configured.connect\ndef f(app, conf, **_): conf.store = 'memory://'",
    "schema": "app = faust_redis.App('a')\n@app.agent(app.topic('t'))\nasync def read(stream): ...",
    "class": "app = faust.App('a', broker='redis://a')\n@app.agent(app.topic('t'))\nasync def read(stream): ...",
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_worker_tells_a_mistake_in_one_line_and_ends_with_1(tmp_path: Path, mistake: str) -> None:
    """`faust worker` prints the sentence, no traceback, and ends with status 1 before anything is connected."""
    (tmp_path / "mistaken.py").write_text(f"import faust\nimport faust_redis\n{textwrap.dedent(MISTAKES[mistake])}\n")
    command = [str(Path(sys.executable).parent / "faust"), "-A", "mistaken", "worker"]
    environ = {"PYTHONPATH": f"{PROJECT}:{tmp_path}", "PATH": "/usr/bin:/bin"}
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert line.startswith("Error: The application or Redis is set up in a way that cannot work: ")
