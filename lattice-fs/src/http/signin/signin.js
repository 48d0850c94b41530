// Uses up the code of a one-time link, which stands behind the `#`, where no server and no log sees it, and goes on to the page.

const code = location.hash.slice(1);
history.replaceState(null, "", location.pathname);
const said = document.getElementById("said");

async function signIn() {
  if (code === "") return "This link is not whole. `lattice web` prints a new one.";
  const response = await fetch("/session", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ code }),
    credentials: "same-origin",
  });
  if (response.ok) {
    location.replace("/");
    return "Signed in.";
  }
  const problem = await response.json().catch(() => ({}));
  return problem.detail ?? `The answer was ${response.status}.`;
}

signIn()
  .catch(() => "The daemon doesn't answer. Check that it is running, then open the link again.")
  .then((text) => (said.textContent = text));
