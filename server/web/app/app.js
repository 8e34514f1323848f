// <hm-app>: the web client at `/`. Holds the session of the user of this tab, and shows the place in the address.

import { Halfminute, Unauthorized } from "../sdk/halfminute.js";
import { HalfminuteElement, html, nothing } from "../elements/base/element.js";
import { noticeStyles, regionView } from "../elements/base/notice.js";
import { useClient } from "../elements/base/client.js";
import { addTexts } from "../elements/base/words.js";
import { appStyles } from "./app_styles.js";
import { ENGLISH } from "./english.js";
import { GERMAN } from "./german.js";
import "./home.js";
import { signIn, signOut, signedInToken } from "./identity.js";
import { forgetCall, keepCall, keptCallId } from "./kept_call.js";
import { presentPlace, addressOf } from "./place.js";
import { RingTone } from "./ring_tone.js";
import "./sign_in.js";

addTexts({ en: ENGLISH, de: GERMAN });
document.documentElement.lang = navigator.language.startsWith("de") ? "de" : "en";

// Read when they are first shown: the first view needs none of them.
const MODULES = {
  home: () => {},
  wallet: () => import("../elements/money.js"),
  call: () => import("./call_page.js"),
  stream: () => import("./stream_page.js"),
  studio: () => import("./page_entry.js"),
  operator: () => import("./page_entry.js"),
};

export class App extends HalfminuteElement {
  static properties = {
    place: { state: true },
    me: { state: true },
    isOffline: { state: true }, // from the loss of a connection until there is another one
    loaded: { state: true }, // the view whose module has come
    isMissing: { state: true }, // whether the module of the view cannot be loaded
    callState: { state: true }, // of the call: "running", "low" on tokens, or "ended"
    current: { state: true }, // the creator to call, or the call that came in; kept while it runs, wherever one looks
  };
  static styles = [
    HalfminuteElement.styles,
    noticeStyles,
    appStyles,
  ];

  #client;
  #ringTone = new RingTone();

  constructor() {
    super();
    this.place = presentPlace();
    this.isOffline = false;
    this.callState = "running";
    addEventListener("hashchange", () => this.#go());
  }

  connectedCallback() {
    super.connectedCallback();
    this.replaceChildren();
    if (signedInToken()) this.#open();
    this.#go();
  }

  render() {
    if (!signedInToken()) return html`<hm-sign-in @sign-in=${this.#signIn}></hm-sign-in>`;
    return html`${this.#header()} ${this.#main()} ${this.#call()}`;
  }

  #header() {
    return html`<header>
      <nav aria-label=${this.t("app.menu")}>
        <a class="brand" href="#/" aria-current=${this.place.view === "home" ? "page" : nothing}>halfminute</a>
        ${this.#link("wallet")}
        ${this.me?.isCreator ? this.#link("studio") : nothing} ${this.me?.isOperator ? this.#link("operator") : nothing}
        ${regionView(this.current && this.place.view !== "call" ? this.#callLink() : nothing)}
        <span class="user">${this.me?.displayName ?? ""}</span>
        <button class="quiet" @click=${this.#signOut}>${this.t("app.signOut")}</button>
      </nav>
      ${regionView(this.isOffline ? html`<p class="offline">${this.t("app.offline")}</p>` : nothing)}
    </header>`;
  }

  // Says of the call what its own page would say, while another page is looked at.
  #callLink() {
    return html`<a class="calling ${this.callState}" href=${addressOf("call", this.current.creator)}>
      ${this.t(`app.call.${this.callState}`)}
    </a>`;
  }

  #link(view) {
    return html`<a class=${view} href=${addressOf(view)} aria-current=${this.place.view === view ? "page" : nothing}>
      ${this.t(`app.${view}`)}
    </a>`;
  }

  #main() {
    if (this.isMissing) return this.#failure();
    if (this.place.view === "call" && this.current) return nothing;
    return this.loaded === this.place.view ? this.#view() : html`<main>${this.skeleton()}</main>`;
  }

  #view() {
    if (this.place.view === "wallet") return html`<main><hm-wallet></hm-wallet><hm-ledger></hm-ledger></main>`;
    if (this.place.view === "stream" && this.place.id) {
      return html`<hm-stream-page stream=${this.place.id} .userId=${this.me?.userId}></hm-stream-page>`;
    }
    if (["studio", "operator"].includes(this.place.view)) {
      const { view, id, detail } = this.place;
      return html`<hm-page-entry
        page=${view}
        .section=${id}
        .detail=${detail}
        @creator-saved=${this.#readMe}
      ></hm-page-entry>`;
    }
    return html`<hm-home .userId=${this.me?.userId} .isCreator=${this.me?.isCreator}></hm-home>`;
  }

  // Some browsers ask for a module that failed only once in the life of a page.
  #failure() {
    return html`<main>
      <div class="notice bad" role="alert">
        <p>${this.t("fault.network")}</p>
        <button class="quiet" @click=${() => location.reload()}>${this.t("retry")}</button>
      </div>
    </main>`;
  }

  #call() {
    if (!this.current) return nothing;
    return html`<hm-call-page
      ?hidden=${this.place.view !== "call"}
      creator=${this.current.creator ?? nothing}
      .call=${this.current.call}
      @call-rings=${({ detail }) => this.#beginCall(detail.callId)}
      @call-started=${({ detail }) => keepCall(detail.callId)}
      @call-low=${() => (this.callState = "low")}
      @call-paid=${() => (this.callState = "running")}
      @call-ended=${this.#endCall}
      @call-closed=${this.#closeCall}
    ></hm-call-page>`;
  }

  get #isCalling() {
    const incoming = this.current?.call;
    return incoming?.isOver === false || Boolean(this.renderRoot?.querySelector("hm-call-page")?.isBusy);
  }

  // A call that rings or runs stays, and only another creator's page waits until it has ended.
  #go() {
    this.place = presentPlace();
    const { view, id } = this.place;
    this.#load(view);
    if (this.#isCalling) return;
    this.current = view === "call" && id ? { creator: id } : undefined;
  }

  async #load(view) {
    this.isMissing = false;
    try {
      await MODULES[view]();
    } catch {
      this.isMissing = view === this.place.view;
    }
    if (view === this.place.view) this.loaded = view;
  }

  #take(call) {
    if (call.role !== "creator" || this.#isCalling) return;
    location.hash = addressOf("call");
    this.#go();
    this.current = { call };
    this.callState = "running";
    this.#ringFor(call);
  }

  // The name is in the title as well, for a tab that is not looked at.
  #ringFor(call) {
    const { title } = document;
    this.#ringTone.start();
    document.title = this.t("app.rings", { name: call.fan.displayName || this.t("person.unnamed") });
    const off = call.on("*", () => {
      if (call.status === "ringing") return;
      off();
      this.#ringTone.stop();
      document.title = title;
    });
  }

  // After a reload: the call has gone on, and is shown with its receipt if it has ended meanwhile.
  async #returnToCall() {
    const callId = keptCallId();
    if (!callId) return;
    try {
      const call = await this.#client.calls.open(callId);
      const creator = call.role === "fan" ? call.creator.userId : undefined;
      location.hash = addressOf("call", creator);
      this.current = { creator, call };
      if (call.isOver) forgetCall();
    } catch (error) {
      forgetCall();
      this.#client.report(error);
    }
  }

  #beginCall(callId) {
    keepCall(callId);
    this.callState = "running";
  }

  #endCall() {
    forgetCall();
    this.callState = "ended";
  }

  #closeCall() {
    location.hash = "#/";
    this.current = undefined;
  }

  #signIn({ detail: user }) {
    signIn(user.token);
    this.#open();
    this.requestUpdate();
  }

  // A reload forgets the client with everything that it has read.
  #signOut() {
    signOut();
    forgetCall();
    this.#client?.close();
    location.assign("/");
    location.reload();
  }

  #open() {
    this.#client = new Halfminute({ getToken: (reason) => this.#token(reason) });
    this.#client.on("state", ({ name }) => {
      this.isOffline = name === "waiting" || (this.isOffline && name === "connecting");
    });
    this.#client.on("call:ringing", (call) => this.#take(call));
    useClient(this.#client);
    this.#client.connect().then(
      () => this.#returnToCall(),
      () => this.#signOut(),
    );
    this.#readMe();
  }

  #readMe() {
    this.#client.rest.getMe().then(
      ({ user }) => (this.me = user),
      () => {},
    );
  }

  #token(reason) {
    if (reason === "unauthenticated" || !signedInToken()) throw new Unauthorized("the token is not valid any more");
    return signedInToken();
  }
}

customElements.define("hm-app", App);
