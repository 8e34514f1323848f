// Defines the elements about money.

import "./ledger.js";
import "./ticket_dialog.js";
import "./tip_button.js";
import "./tips_overlay.js";
import "./wallet.js";
