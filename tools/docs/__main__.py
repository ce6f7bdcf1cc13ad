"""Rewrite the generated parts of the documentation: `make docs`."""

from tools.docs.pages import ROOT, generated

for path, text in generated().items():
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
        print(path.relative_to(ROOT))
