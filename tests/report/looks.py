"""What a page is asked in a browser: scripts that return what is wrong with it."""

# Elements that reach beyond the window, where nothing around them scrolls or hides.
TOO_WIDE = """[...document.querySelectorAll('body *')].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && box.right > innerWidth + 1 && !one.closest('.scroll')
        && getComputedStyle(one).position !== 'absolute';
}).map(one => one.tagName + ' ' + one.className)"""

# Labels of one plot that lie on each other, or outside of it.
OVERLAPS = """[...document.querySelectorAll('.plot svg')].filter(svg => svg.clientWidth).flatMap(svg => {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].map(one => [one.textContent, one.getBoundingClientRect()]);
    const wrong = texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
        || box.top < frame.top - 1 || box.bottom > frame.bottom + 1).map(([words]) => 'outside: ' + words);
    texts.forEach(([words, one], place) => texts.slice(place + 1).forEach(([other, two]) => {
        if (one.left < two.right - 1 && two.left < one.right - 1
            && one.top < two.bottom - 3 && two.top < one.bottom - 3)
            wrong.push(words + ' on ' + other);
    }));
    return wrong;
})"""

SMALLEST_LABEL = """Math.min(...[...document.querySelectorAll('.plot svg text')].filter(one =>
    one.getBoundingClientRect().width).map(one => parseFloat(getComputedStyle(one).fontSize)
    * one.ownerSVGElement.getBoundingClientRect().width / one.ownerSVGElement.viewBox.baseVal.width))"""

LABELS = """[...document.querySelectorAll('.plot svg')].filter(svg => svg.getBoundingClientRect().width)
    .map(svg => [...svg.querySelectorAll('text')].map(one => one.textContent))"""

# Text, and parts of plots, whose contrast to what is behind them is less than WCAG's AA asks: 4.5, large 3, graphics 3.
PALE = """(() => {
    const parsed = value => { const found = value.match(/[\\d.]+/g); return found && found.map(Number); };
    const light = ([r, g, b]) => [r, g, b].map(one => one / 255).map(one => one <= .04045 ? one / 12.92
        : ((one + .055) / 1.055) ** 2.4).reduce((sum, one, place) => sum + one * [.2126, .7152, .0722][place], 0);
    const ratio = (...two) => {
        const [a, b] = two.map(light).sort((x, y) => y - x);
        return (a + .05) / (b + .05);
    };
    const behind = one => { for (let at = one; at; at = at.parentElement) {
        const found = parsed(getComputedStyle(at).backgroundColor);
        if (found && (found.length < 4 || found[3] > 0)) return found; } throw 'no background'; };
    const wrong = []; let seen = 0;
    for (const one of document.querySelectorAll('body *')) {
        const style = getComputedStyle(one);
        if (!one.getBoundingClientRect().width) continue;
        const isText = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
        if (isText && one.tagName !== 'style') {
            seen += 1;
            const found = ratio(parsed(one instanceof SVGElement ? style.fill : style.color), behind(one));
            if (found < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) wrong.push([one.tagName, one.textContent, found]);
        } else if (one.matches('.plot [style*="fill: var"], .plot [style*="stroke: var"]') && !one.matches('text')
            && !/--line/.test(one.getAttribute('style'))) {
            seen += 1;
            const hue = /fill: var/.test(one.getAttribute('style')) ? style.fill : style.stroke;
            if (ratio(parsed(hue), behind(one)) < 3) wrong.push([one.tagName, hue]);
        }
    }
    if (seen < 10) wrong.push(['nothing was looked at', seen]);
    return wrong;
})()"""

# What axe-core asks of structure: one h1, no level left out, names for what can be reached, landmarks, table heads.
UNSOUND = """(() => {
    const wrong = [], all = query => [...document.querySelectorAll(query)];
    if (document.documentElement.lang !== 'en') wrong.push('lang');
    if (!document.title) wrong.push('title');
    const levels = all('h1, h2, h3, h4, h5, h6').map(one => Number(one.tagName[1]));
    if (levels[0] !== 1 || levels.filter(one => one === 1).length !== 1) wrong.push('h1');
    levels.forEach((one, place) => { if (place && one > levels[place - 1] + 1) wrong.push('heading level ' + place); });
    for (const mark of ['header', 'main', 'footer']) if (all('body > ' + mark).length !== 1) wrong.push(mark);
    const ids = all('[id]').map(one => one.id);
    ids.filter((one, place) => ids.indexOf(one) !== place).forEach(one => wrong.push('id twice: ' + one));
    for (const name of ['aria-labelledby', 'aria-describedby'])
        all(`[${name}]`).filter(one => !document.getElementById(one.getAttribute(name)))
            .forEach(() => wrong.push(name));
    all('a[href^="#"]').filter(one => !document.getElementById(one.hash.slice(1)))
        .forEach(one => wrong.push(one.hash));
    all('[role=img], [role=region], nav').filter(one => !one.getAttribute('aria-label'))
        .forEach(one => wrong.push(one.className));
    all('svg').filter(one => one.getAttribute('aria-hidden') !== 'true').forEach(() => wrong.push('svg'));
    all('table').filter(one => !one.caption || !one.querySelector('thead th[scope=col]')
        || [...one.tBodies[0].rows].some(row => !row.querySelector('th[scope=row]')))
        .forEach(() => wrong.push('table'));
    all('figure').filter(one => !one.querySelector('figcaption') || !one.querySelector('details > summary')
        || !one.querySelector('details table')).forEach(one => wrong.push('figure ' + one.id));
    all('section').filter(one => !one.getAttribute('aria-labelledby')).forEach(() => wrong.push('section'));
    return wrong;
})()"""
