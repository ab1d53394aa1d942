(() => {
  const every = 2000;
  // Without the name and the password that an address may have: fetch refuses those, and the browser knows them.
  const here = location.origin + location.pathname + location.search;
  const refresh = async () => {
    try {
      if (!document.hidden) {
        const response = await fetch(here, { cache: "no-store", signal: AbortSignal.timeout(10000) });
        if (!response.ok) throw new Error(response.statusText);
        const page = new DOMParser().parseFromString(await response.text(), "text/html");
        document.querySelector("main").replaceWith(page.querySelector("main"));
        document.title = page.title;
        document.body.classList.remove("stale");
      }
    } catch {
      document.body.classList.add("stale");
    }
    setTimeout(refresh, every);
  };
  setTimeout(refresh, every);
})();
