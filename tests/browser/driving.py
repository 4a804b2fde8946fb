"""A notebook that was run in JupyterLab: its widgets, its kernel's complaints, a reader's hands."""

import re

import nbformat
from playwright.sync_api import expect

from browser.conftest import COMPLAINTS

# Messages over which the kernel still sits, and what it says that no reader should see.
LISTEN = """() => {
    const { sessionContext } = window.jupyterapp.shell.currentWidget;
    // Progress bars stand on stderr too; they go back to the start of their line, or end it.
    const isProgress = (text) => text.startsWith('\\r') || !text.trim();
    window.unanswered = new Set();
    window.said = [];
    sessionContext.session.kernel.anyMessage.connect((_, { msg, direction }) => {
        const type = msg.header.msg_type;
        if (direction === 'send') {
            if (type === 'comm_msg') window.unanswered.add(msg.header.msg_id);
            return;
        }
        if (type === 'status' && msg.content.execution_state === 'idle')
            window.unanswered.delete(msg.parent_header.msg_id);
        if (type === 'error') window.said.push(`${msg.content.ename}: ${msg.content.evalue}`);
        if (type === 'stream' && msg.content.name === 'stderr' && !isProgress(msg.content.text))
            window.said.push(msg.content.text);
    });
}"""
RUN = """async () => {
    window.ended = null;
    const done = await window.jupyterapp.commands.execute('notebook:run-all-cells');
    window.ended = String(done);
}"""
# An answer may be what makes the page send what it had kept back: look again a frame later.
SETTLED = """() => {
    window.calm = window.unanswered.size ? 0 : (window.calm || 0) + 1;
    return window.calm > 3 && (window.calm = 0, true);
}"""
FIND = """() => {
    const { content } = window.jupyterapp.shell.currentWidget;
    const roots = [...content.node.querySelectorAll('.jupyter-widgets')]
        .filter((node) => !node.parentElement.closest('.jupyter-widgets'));
    roots.forEach((root, place) => root.setAttribute('data-root', place));
    return roots.map((root) => [
        ...[...root.querySelectorAll('.widget-label, button')].map((node) => node.textContent),
        ...[...root.querySelectorAll('svg[role=img]')].map(() => 'chart'),
    ].map((text) => text.trim()));
}"""
# A widget is known by the first of its labels that stands here.
SIGNS = {
    "Ask": "QuestionBox",
    "Ask all": "CompareBox",
    "Check 1": "ChoiceBox",
    "Generate": "GeneratorPlayground",
    "Look again": "ProgressBoard",
    "Next": "RatingBox",
    "Search": "SearchBox",
    "Vectors": "IndexChooser",
    "Words": "ChunkExplorer",
    "chart": "TrainingChart",
    "chunks 10^": "capacity",
}


class Running:
    """A notebook after its last cell, and its widgets by their kind."""

    def __init__(self, lab, page, notebook, name):
        self.lab, self.page = lab, page
        self.faults = []
        page.on("pageerror", self._note)
        nbformat.write(notebook, lab.folder / name)
        lab.open(page, name)
        page.evaluate(LISTEN)
        page.evaluate(f"() => {{ ({RUN})(); }}")

    def _note(self, error):
        # JupyterLab draws outputs as they scroll by, and now and then removes one twice. No widget
        # of the course touches the page's nodes.
        if "'removeChild' on 'Node'" not in str(error):
            self.faults.append(f"script: {error}")

    def wait_for_the_end(self, seconds):
        self.page.wait_for_function("() => window.ended !== null", timeout=seconds * 1000)
        self.settle()
        # JupyterLab asks for widgets as soon as the kernel runs, before a cell imports them.
        self.page.evaluate(
            "() => { window.said = window.said.filter((text) => !/^No such comm/.test(text)); }"
        )
        assert self.page.evaluate("() => window.ended") == "true", self.complaints()

    def widgets(self):
        """Return kinds and locators, in the page's order."""
        kinds = [
            next((SIGNS[label] for label in labels if label in SIGNS), f"unknown: {labels}")
            for labels in self.page.evaluate(FIND)
        ]
        places = range(len(kinds))
        return kinds, [self.page.locator(f"[data-root='{place}']") for place in places]

    def settle(self, seconds=240):
        """Wait until the kernel has answered all that the page sent."""
        self.page.wait_for_function(SETTLED, timeout=seconds * 1000)

    def complaints(self):
        """Return what the kernel and the page complain of."""
        text = self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.node.textContent"
        )
        signs = [sign for sign in COMPLAINTS if sign in text]
        return [*self.faults, *self.page.evaluate("() => window.said"), *signs]

    def check(self, widget):
        """Wait for the widget to have worked; its status is a sentence, and nothing complains."""
        self.settle()
        for line in widget.locator("[role=status], [role=alert]").all():
            expect(line).not_to_have_text("Working …")
            assert not re.search(r"Traceback|Exception|\w+Error:", line.inner_text())
        complaints = self.complaints()
        assert complaints == [], complaints

    def press(self, widget, target, key):
        """Press a key on a part of a widget."""
        target.focus()
        self.page.keyboard.press(key)
        self.check(widget)

    def click(self, widget, target):
        """Press a part of a widget with the mouse."""
        target.click()
        self.check(widget)

    def slide(self, widget, handle):
        """Move a slider to both ends by keyboard and by mouse; it is left at its lower end."""
        low, high = (float(handle.get_attribute(f"aria-value{end}")) for end in ("min", "max"))
        for key, end in (("End", high), ("Home", low), ("ArrowRight", None)):
            self.press(widget, handle, key)
            if end is not None:
                assert self.value(handle) == end, key
            else:
                assert low < self.value(handle) <= high
            expect(handle).to_be_focused()  # a reader goes on with the keyboard
        for side, end in ((1, high), (-1, low)):
            self.drag(handle, side)
            self.check(widget)
            assert self.value(handle) == end, "by mouse"

    def drag(self, handle, side):
        """Drag a slider past one of its ends; side is 1 or -1."""
        handle.scroll_into_view_if_needed()
        knob = handle.bounding_box()
        x, y = knob["x"] + knob["width"] / 2, knob["y"] + knob["height"] / 2
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + side * 500, y, steps=5)
        self.page.mouse.up()

    def value(self, handle):
        return float(handle.get_attribute("aria-valuenow"))
