"""Several processes use one ledger."""

import sqlite3
import threading

from models_under_pressure.llm.ledger import Ledger


def test_a_new_ledger_waits_for_a_process_that_is_making_it(tmp_path):
    path = tmp_path / "ledger.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("begin immediate")  # as a process that writes the tables does: SQLite tells others at once to go away
    done = threading.Timer(0.2, other.close)
    done.start()
    assert Ledger(path).begin_refresh("stage") > 0
    done.join()


def test_a_new_ledger_is_its_owners_alone(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.touch(mode=0o644)
    Ledger(path).begin_refresh("stage")
    assert {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()} == {0}
