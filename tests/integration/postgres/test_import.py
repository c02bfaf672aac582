from tests.integration.asking import ask, rows

def test_first(served, database, log, undisturbed):
    answer = ask(served, "import", log)
    print(answer)
    assert database.rows() + database.rows("reject_text")
    assert sorted(database.rows() + database.rows("reject_text"), key=lambda r: r["id"]) == rows(undisturbed)
