import json

import pytest
from fault_server import FAIL_BATCH_LINE, FaultServer

from models_under_pressure.core.errors import UserError
from models_under_pressure.llm.answering import ask_all
from models_under_pressure.llm.ask import Answer
from models_under_pressure.llm.batch import Request, begin_job, open_jobs
from models_under_pressure.llm.store import request_key


def test_what_is_missing_is_asked_in_one_batch_and_what_fails_there_one_by_one(question, config, store):
    known = [question(i) for i in range(3)]
    asks = [*known, *(question(i, text=FAIL_BATCH_LINE if i > 7 else "") for i in range(3, 10)), question(4)]
    with FaultServer() as server:
        ask_all(known, config=config(server), store=store(), what="t")
        server.seen.clear()
        one = store()
        batched = config(server, batch=True, batch_poll_seconds=0.01)
        outcomes = ask_all(asks, config=batched, store=one, what="t")
        assert all(isinstance(outcome, Answer) for outcome in outcomes)
        (batch,) = server.batches.values()
        lines = [json.loads(line) for line in server.files[batch["input_file_id"]].splitlines()]
        assert len(lines) == 7, "neither the recorded nor the repeated question"
        assert all(request_key(line["body"], sample=0) == line["custom_id"] for line in lines)
        assert server.rows == {"8": 1, "9": 1}
        one.write_record_file()
        assert one.record_file.read_text().count("\n") == 10
        assert open_jobs(one.ledger, what="t", endpoint=batched.endpoint) == []
        assert ask_all(asks, config=batched, store=store(), what="t") == outcomes
        assert len(server.batches) == 1


def requests(count):
    bodies = [{"model": "gpt-4o", "messages": [{"role": "user", "content": f"row {i}"}]} for i in range(count)]
    return [Request(request_key(body, sample=0), 0, fresh=False, body=body) for body in bodies]


def test_a_batch_whose_id_was_not_noted_before_the_kill_is_found_by_its_name(question, config, store):
    with FaultServer() as server:
        batched = config(server, batch=True, batch_poll_seconds=0.01)
        one = store()
        job = begin_job(one.ledger, requests(2), what="t", endpoint=batched.endpoint)
        lines = [json.dumps({"custom_id": r.key, "body": r.body}) for r in requests(2)]
        server.files["input"] = "\n".join(lines).encode()
        server.create_batch({"input_file_id": "input", "endpoint": "x", "metadata": {"name": job.name}})
        ask_all([], config=batched, store=one, what="t")
        assert all(one.ledger.get(request.key) for request in requests(2))
        assert len(server.batches) == 1


def test_a_batch_that_was_noted_but_never_submitted_is_submitted_anew(question, config, store):
    with FaultServer() as server:
        batched = config(server, batch=True, batch_poll_seconds=0.01)
        one = store()
        begin_job(one.ledger, requests(2), what="t", endpoint=batched.endpoint)
        ask_all([question(1)], config=batched, store=one, what="t")
        assert len(server.batches) == 1
        assert open_jobs(one.ledger, what="t", endpoint=batched.endpoint) == []


def test_a_batch_above_the_spend_cap_is_not_submitted(question, config, store):
    with FaultServer() as server:
        capped = config(server, batch=True, max_cost_usd=0.01)
        with pytest.raises(UserError, match=r"batch may cost \$\d.*max_cost_usd \(\$0.01\)"):
            ask_all([question(i) for i in range(50)], config=capped, store=store(), what="t")
        assert not server.batches


def test_a_refused_batch_is_one_clear_error(question, config, store):
    with FaultServer() as server:
        server.batch_looks = 10**6
        refused = server.create_batch

        def fail(request):
            batch = refused(request)
            batch.update(status="failed", errors={"object": "list", "data": [{"code": "invalid_json_line"}]})
            return batch

        server.create_batch = fail
        with pytest.raises(UserError, match=r"refused batch batch_0 \(invalid_json_line\)"):
            ask_all([question(1)], config=config(server, batch=True), store=store(), what="t")


def test_an_endpoint_without_batches_is_one_clear_error(question, config, store):
    with FaultServer() as server:
        dead = config(server, batch=True, retries=0)
    with pytest.raises(UserError, match="Batch API failed"):
        ask_all([question(1)], config=dead, store=store(), what="t")


def test_a_refresh_by_batch_replaces_the_replies(question, config, store):
    with FaultServer() as server:
        one = store()
        ask_all([question(1)], config=config(server), store=one, what="t")
        one.write_record_file()
        again = store()
        refreshing = config(server, mode="refresh", batch=True, batch_poll_seconds=0.01)
        ask_all([question(1)], config=refreshing, store=again, what="t")
        assert len(server.batches) == 1
        assert server.rows == {"1": 1}
