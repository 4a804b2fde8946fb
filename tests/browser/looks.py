"""How a widget looks: does it fit into its cell, and can its text be read."""

# The least contrast of a text with its ground: WCAG 2.1, success criterion 1.4.3.
LEAST_CONTRAST = 4.5

# What scrolls may hold more than it shows if the keyboard reaches it; a field shows what one types.
TOO_WIDE = """(root) => {
    const cell = root.closest('.jp-OutputArea-output');
    const found = [];
    for (const node of [cell, root, ...root.querySelectorAll('*')]) {
        const style = getComputedStyle(node), name = node.className || node.tagName;
        const shown = node.getBoundingClientRect().width && style.display !== 'inline';
        // The selected cell itself has a tabindex, which says nothing of what is inside.
        if (!shown || root.contains(node.closest('[tabindex="0"], input, select'))) continue;
        if (node.scrollWidth > node.clientWidth + 1 && style.overflowX !== 'visible')
            found.push(`${name} is cut or scrolls: ${node.scrollWidth} > ${node.clientWidth}`);
    }
    return found;
}"""
PALE = """([root, least]) => {
    const parse = (text) => {
        const numbers = text.match(/[\\d.]+(?:e-?\\d+)?/g).map(Number);
        const scale = text.startsWith('color(srgb') ? 255 : 1;
        const [r, g, b, a = 1] = numbers;
        return [r * scale, g * scale, b * scale, a];
    };
    const over = (top, ground) =>
        [0, 1, 2].map((n) => top[n] * top[3] + ground[n] * (1 - top[3])).concat(1);
    const groundOf = (node) => {
        if (!node) return [255, 255, 255, 1];
        const own = parse(getComputedStyle(node).backgroundColor);
        return own[3] === 1 ? own : over(own, groundOf(node.parentElement));
    };
    const luminance = (colour) => {
        const [r, g, b] = colour.slice(0, 3).map((value) => value / 255)
            .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const found = [];
    const look = (node, text) => {
        if (!text.trim() || node.closest(':disabled, option') || !node.getClientRects().length)
            return;
        const style = getComputedStyle(node), ground = groundOf(node);
        const ink = over(parse(node.closest('svg') ? style.fill : style.color), ground);
        const [dark, light] = [ink, ground].map(luminance).sort((a, b) => a - b);
        const contrast = (light + 0.05) / (dark + 0.05);
        if (contrast < least)
            found.push(`${contrast.toFixed(2)}: ${text.trim().slice(0, 40)} `
                + `(${ink.map(Math.round)} on ${ground.map(Math.round)})`);
    };
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) look(texts.currentNode.parentElement, texts.currentNode.data);
    for (const field of root.querySelectorAll('input[type=text], select'))
        look(field, field.selectedOptions ? field.selectedOptions[0].text : field.value);
    return found;
}"""


def use_theme(page, name):
    """Switch JupyterLab to a theme, and wait until it is drawn."""
    light = "false" if "Dark" in name else "true"
    page.evaluate(
        "(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", name
    )
    page.wait_for_selector(f"body[data-jp-theme-light='{light}']", state="attached", timeout=30_000)


def use_width(page, width, height=1000):
    """Make the window so wide, and wait until JupyterLab has laid itself out."""
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_function(
        "(width) => document.querySelector('#main')?.clientWidth === width", arg=width
    )


def faults_of_looks(widget):
    """Return where a widget leaves its cell, and which of its texts are pale."""
    handle = widget.element_handle()
    return [
        *widget.page.evaluate(TOO_WIDE, handle),
        *widget.page.evaluate(PALE, [handle, LEAST_CONTRAST]),
    ]
