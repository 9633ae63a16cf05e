// Called by backend_pictures.py: node backend_pictures.cjs URL CHROMIUM '[{"file": ..., "clicks": [...], "show": ...}]'
const { createRequire } = require("node:module");
const { chromium } = createRequire(process.cwd() + "/")("playwright-core");

const [url, executablePath, pictures] = process.argv.slice(2);

async function take(page, { file, clicks, show }) {
  await page.goto(url);
  for (const [text, which] of clicks) {
    const found = page.getByText(text, { exact: true });
    await found.first().waitFor({ timeout: 30000 });
    await found.nth(which).click();
    await page.waitForTimeout(500); // panes slide in
  }
  if (show) {
    const found = page.getByText(show).first();
    await found.evaluate((it) => it.scrollIntoView({ block: "center" }), null, { timeout: 10000 });
  }
  await page.mouse.move(0, 0);
  await page.waitForTimeout(1500); // charts are drawn
  await page.screenshot({ path: file });
}

(async () => {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  for (const picture of JSON.parse(pictures)) await take(page, picture);
  await browser.close();
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
