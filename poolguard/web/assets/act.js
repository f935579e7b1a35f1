// What a person does to a transaction: asked once more, with the admin token where one is set, and answered in words.

import { el, words } from "./parts.js";

const DOES = {
  cancel: "ends the statement that runs. The transaction stays, in error.",
  rollback: "ends the transaction and keeps the session: the client's next message gets an error, and a COMMIT never looks like success. Nothing is done while a statement runs.",
  terminate: "closes the client's session and its server.",
};
const OUTCOMES = {
  done: "Done.",
  victim_moved: "It was over already: nothing was done, and nobody else was hit.",
  refused: "Refused: this is not possible in the state that the transaction is in now.",
  failed: "It failed; poolguard's log has more.",
};

const part = (id) => document.getElementById(id);
let tokenWanted = false;
let chosen = null;

/** Whether the settings ask for an admin token. */
export function wantToken(wanted) {
  tokenWanted = wanted;
}

/** Ask whether *action* is to be done to the transaction *one*, and do it. */
export function act(one, action) {
  chosen = { id: one.id, action };
  part("act-title").textContent = `${action} ${one.id}?`;
  part("act-what").replaceChildren(
    `This ${DOES[action]} Transaction of ${one.application_name || one.user || "unknown"}, pool ${one.pool}, ${words(one.state)}: `,
    el("code", {}, one.statement?.text ?? "no statement yet"),
  );
  part("act-token-label").hidden = !tokenWanted;
  part("act-do").textContent = action;
  part("act-do").disabled = false;
  tell("", "");
  part("act").showModal();
}

async function send() {
  part("act-do").disabled = true;
  tell("Asking.", "quiet");
  const token = part("act-token").value.trim();
  const actor = part("act-actor").value.trim();
  try {
    const answer = await fetch(`v1/transactions/${chosen.id}/${chosen.action}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
      body: JSON.stringify(actor ? { actor } : {}),
    });
    const said = await answer.json();
    if (answer.ok) tell(`${OUTCOMES[said.outcome] ?? said.outcome} Incident ${said.id}.`, said.outcome === "done" ? "well" : "warn");
    else tell([said.message, said.hint].filter(Boolean).join(". "), "bad");
    part("act-do").disabled = answer.ok;
  } catch {
    tell("poolguard does not answer. Whether it was done is not known: look at the incidents.", "bad");
    part("act-do").disabled = false;
  }
}

function tell(text, className) {
  part("act-said").textContent = text;
  part("act-said").className = className;
}

part("act-do").addEventListener("click", send);
part("act").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.target.tagName !== "INPUT") return;
  event.preventDefault(); // else the form closes the dialog
  if (!part("act-do").disabled) send();
});
