//! Without a mouse, and for assistive technology.

use super::House;
use crate::support::browser::{Browser, Key, Told};

fn told(role: &str, label: &str) -> Told {
    Told { role: role.to_owned(), label: label.to_owned() }
}

#[tokio::test]
async fn everything_is_reached_with_the_keyboard_and_has_a_name() {
    let house = House::new().await;
    let browser = Browser::start().await;
    browser.goto(&house.url).await;
    browser.one("#token").await;
    browser.press(&[Key::Tab]).await;
    assert_eq!(browser.focus().await, told("link", "Skip to content"));
    browser.press(&[Key::Tab]).await;
    assert_eq!(browser.focus().await.label, "Token");
    browser.type_in(&house.reader(&["*"]).await).await;
    browser.press(&[Key::Enter]).await;
    browser.reads("#title", |title| title == "Access").await;
    browser.reads("#told", |told| told.starts_with(|first: char| first.is_ascii_digit())).await;
    assert_eq!(browser.focus().await, told("heading", "Access"), "whoever came in is told where she is");
    browser.press(&[Key::Tab]).await;
    assert_eq!(browser.focus().await, told("searchbox", "Filter by person, team or role"));
    browser.type_in(&house.person).await;
    browser.reads("#told", |told| told.starts_with("1 person")).await;
    browser.reads("#said", |said| said.starts_with("1 person")).await;
    browser.press(&[Key::Tab]).await;
    let header = browser.focus().await;
    assert!(header.role == "rowheader" && header.label.contains(&house.person), "{header:?}");
    names_of_the_grid(&browser, &house).await;
    browser.press(&[Key::End]).await;
    to_her_cell(&browser, &house).await;
    browser.press(&[Key::Enter]).await;
    browser.reads("#details", |text| text.contains("Works on payments")).await;
    let dialog = browser.told("#details").await;
    assert_eq!(dialog, told("dialog", &format!("{} in {}", house.person, house.stage.environment)));
    browser.press(&[Key::Escape]).await;
    let back = browser.focus().await;
    assert!(back.role == "gridcell" && back.label.contains(&house.role), "closing leads back: {back:?}");
    browser.press(&[Key::Home, Key::Enter]).await;
    browser.reads("#title", |title| title == format!("Timeline of {}", house.person)).await;
    assert_eq!(browser.focus().await.role, "heading");
    everything_has_a_name(&browser).await;
    browser.quit().await;
}

/// Goes left until the cell with the Role has the focus.
async fn to_her_cell(browser: &Browser, house: &House) {
    for _ in 0..500 {
        let here = browser.focus().await;
        if here.role == "gridcell" && here.label.contains(&house.role) {
            return;
        }
        assert_eq!(here.role, "gridcell", "it went past: {here:?}");
        browser.press(&[Key::Left]).await;
    }
    panic!("it never came");
}

async fn names_of_the_grid(browser: &Browser, house: &House) {
    assert_eq!(browser.told(".scroller table").await, told("grid", "Who has what, where"));
    assert_eq!(browser.told("nav").await, told("navigation", "Views"));
    assert_eq!(browser.told("nav a[aria-current='page']").await, told("link", "Access"));
    let counts = browser
        .run("const it = document.querySelector('.scroller table'); return [it.ariaRowCount, it.ariaColCount, it.rows.length]")
        .await;
    assert_eq!(counts[0], "2", "her row and the headings: {counts}");
    let columns: usize = counts[1].as_str().and_then(|count| count.parse().ok()).expect("a count");
    assert!(columns >= 2, "{counts}");
    let head = browser.run("return [...document.querySelectorAll('thead th')].map((it) => it.innerText)").await;
    assert!(head.as_array().is_some_and(|head| head.contains(&house.stage.environment.as_str().into())), "{head}");
}

/// Whatever can be used has a name; headings begin at one; the colours are far enough apart.
async fn everything_has_a_name(browser: &Browser) {
    let count = browser.run("return document.querySelectorAll('a, button, input, dialog, table').length").await.as_u64().expect("a number");
    assert!(count > 5, "{count}");
    for number in 0..count {
        let mark = format!("document.querySelectorAll('a, button, input, dialog, table')[{number}]");
        let seen = browser
            .run(&format!("const it = {mark}; it.setAttribute('data-test', '{number}'); return it.checkVisibility() && it.offsetWidth > 0"))
            .await;
        if seen == true {
            let named = browser.told(&format!("[data-test='{number}']")).await;
            assert!(!named.label.is_empty(), "{named:?} of {}", browser.run(&format!("return {mark}.outerHTML.slice(0, 200)")).await);
        }
    }
    let headings = browser
        .run("return [...document.querySelectorAll('h1, h2, h3')].filter((it) => it.checkVisibility()).map((it) => it.tagName)")
        .await;
    assert_eq!(
        (&headings[0], headings.as_array().map(|all| all.iter().filter(|it| **it == "H1").count())),
        (&"H1".into(), Some(1)),
        "{headings}"
    );
    for scheme in ["light", "dark"] {
        let contrast = browser.run(&CONTRAST.replace("SCHEME", scheme)).await;
        for (name, ratio) in contrast.as_object().expect("ratios") {
            assert!(ratio.as_f64().is_some_and(|ratio| ratio >= 4.5), "{name} in {scheme}: {contrast}");
        }
    }
}

/// The contrast of each colour of text with what is behind it, by the style sheet's own variables (WCAG 2.2, 1.4.3).
const CONTRAST: &str = "
    const rules = [...document.styleSheets[0].cssRules];
    const roots = rules.flatMap((it) => it.media?.mediaText.includes('color-scheme') ? [...it.cssRules] : [it]).filter((it) => it.selectorText === ':root');
    const style = 'SCHEME' === 'dark' ? roots[1].style : roots[0].style;
    const light = (name) => {
      const hex = style.getPropertyValue(name).trim().slice(1);
      const parts = [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255).map((it) => it <= 0.04045 ? it / 12.92 : ((it + 0.055) / 1.055) ** 2.4);
      return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const ratio = (one, other) => { const [less, more] = [light(one), light(other)].sort((a, b) => a - b); return (more + 0.05) / (less + 0.05); };
    const told = {};
    for (const text of ['--text', '--muted', '--link', '--good', '--bad']) for (const ground of ['--ground', '--raised']) told[text + ' on ' + ground] = ratio(text, ground);
    return told;
";
