"""The report's scripts are kept between commands, and never believed unchecked."""

from disobey.reports import scripts


def test_the_scripts_are_packed_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    packed = []
    monkeypatch.setattr(scripts.vl_convert, "javascript_bundle", lambda *_: packed.append(1) or "let a = 'é';\n\nb()\n")
    library = scripts.library.__wrapped__
    assert [library(), library()] == ["let a = 'é';\n\nb()\n"] * 2
    assert packed == [1]
    place = scripts.kept_at()
    assert tmp_path in place.parents
    for damaged in (place.read_bytes()[:-3], b"", b"\xff\xfe", place.read_bytes().replace(b"b()", b"c()")):
        place.write_bytes(damaged)
        assert scripts.kept(place) is None
        assert library() == "let a = 'é';\n\nb()\n"
        assert scripts.kept(place) is not None


def test_where_nothing_can_be_kept_scripts_are_packed_each_time(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(scripts.vl_convert, "javascript_bundle", lambda *_: "a()")
    assert scripts.library.__wrapped__() == "a()"
