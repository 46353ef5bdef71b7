@echo off
rem Install the lessons of this kit without network, on Windows: install.bat [FOLDER]
rem .venv comes into FOLDER, with the lessons; without FOLDER, into the kit itself.
setlocal

if defined PYTHON goto found
set "PYTHON=py -@PYTHON@"
%PYTHON% --version >nul 2>nul && goto found
set "PYTHON=python"
%PYTHON% --version 2>nul | findstr /b /c:"Python @PYTHON@." >nul && goto found

echo This kit needs Python @PYTHON@. Install it, or name it: set PYTHON=C:\path\to\python.exe 1>&2
exit /b 1

:found
%PYTHON% "%~dp0install.py" %*
